/*
 * Lets user-mode Linux 6.1 set its processes' registers on processors whose register state is larger than it knows.
 *
 * Preloaded into the lab's kernel. That kernel keeps 2696 bytes of extended state: everything up to AVX-512 and
 * protection keys. A host whose processor has more (AMX tiles: 11,008 bytes) takes the whole state or nothing
 * (xstateregs_set() in arch/x86/kernel/fpu/regset.c: EFAULT), and the lab's first process dies of it.
 *
 * Rule: what the kernel does not know stays in its initial state. Nothing in the lab can use tiles: a program must
 * ask for them first, and this kernel has no such call.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

static long (*real)(int, pid_t, void *, void *);
static char state[1 << 16];
static size_t whole; /* bytes of state this machine has, 0 before it was asked */

__attribute__((constructor)) static void find(void)
{
	real = dlsym(RTLD_NEXT, "ptrace");
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	pid_t pid = va_arg(arguments, pid_t);
	void *address = va_arg(arguments, void *);
	void *data = va_arg(arguments, void *);
	va_end(arguments);

	if (request != PTRACE_SETREGSET || address != (void *)NT_X86_XSTATE)
		return real(request, pid, address, data);
	if (!whole) {
		struct iovec all = {state, sizeof state};
		if (real(PTRACE_GETREGSET, pid, address, &all) < 0)
			return -1;
		whole = all.iov_len;
		memset(state, 0, sizeof state);
	}
	const struct iovec *known = data;
	if (known->iov_len >= whole)
		return real(request, pid, address, data);
	memcpy(state, known->iov_base, known->iov_len);
	struct iovec all = {state, whole};
	return real(request, pid, address, &all);
}
