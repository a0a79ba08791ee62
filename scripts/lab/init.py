"""The lab's first process: prepares the machine, loads OpenZFS, runs one command, reports its exit code.

Flow: the kernel starts it from the host's tree (hostfs); launch.py talks to it over the serial line /dev/ttyS1.
Rule: standard library and system calls only, so it needs no tool that a small Debian might lack.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import tty

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from frames import CHUNK, Job, Kind, receive, send

LINE = "/dev/ttyS1"
FRESH = ("/run", "/mnt", "/dev/shm")  # a new tmpfs each
SIOCSIFFLAGS = 0x8914
IFF_UP = 1
SYS_FINIT_MODULE = 313  # x86_64; user-mode Linux runs nowhere else here

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Run the job that comes over the line; returns only to let the kernel stop."""
    line = os.open(LINE, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(line, termios.TCSANOW)
    send(line, Kind.HELLO)  # only now: what came before raw mode would have been edited as typed text
    frame = receive(line)
    if frame is None:
        return
    job = Job(**json.loads(frame[1]))
    lock = threading.Lock()
    try:
        prepare(job)
        child = start(job)
    except (OSError, subprocess.SubprocessError) as error:
        send(line, Kind.FAILED, str(error).encode())
        send(line, Kind.EXIT, b"127" if isinstance(error, FileNotFoundError) else b"126")
        signal.pause()
        return
    send(line, Kind.READY)
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    threading.Thread(target=feed, args=(line, child.stdin.fileno()), daemon=True).start()
    pumps = [
        threading.Thread(target=pump, args=(stream.fileno(), line, kind, lock))
        for stream, kind in ((child.stdout, Kind.STDOUT), (child.stderr, Kind.STDERR))
    ]
    for thread in pumps:
        thread.start()
    code = wait_for(child.pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)  # what the command left behind must not keep its pipes open
    for thread in pumps:
        thread.join()
    subprocess.run(["sync", "-f", "/"], check=False)  # memory maps of host files; the disks are thrown away
    send(line, Kind.EXIT, str(code).encode())
    signal.pause()  # the host ends the machine


def prepare(job: Job) -> None:
    """Mount the kernel's file systems (devtmpfs it has mounted itself) and fresh scratch, bring loopback up, load OpenZFS."""
    os.makedirs("/dev/pts", exist_ok=True)
    os.makedirs("/dev/shm", exist_ok=True)
    mount("proc", "/proc")
    mount("sysfs", "/sys")
    mount("devpts", "/dev/pts", "ptmxmode=666")
    modules = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in job.modules]
    for target in FRESH:
        mount("tmpfs", target)
    for path in job.visible:
        if path.startswith(tuple(f"{target}/" for target in FRESH)):
            os.makedirs(path, exist_ok=True)
            mount("hostfs", path, path)
    for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(f"/proc/self/{target}", f"/dev/{name}")
    socket.sethostname("zfs-lab")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
    for module in modules:
        check(libc.syscall(SYS_FINIT_MODULE, module, b"", 0), "cannot load an OpenZFS module")
        os.close(module)


def start(job: Job) -> subprocess.Popen[bytes]:
    """Start the command as its own session; its three streams are pipes."""
    os.makedirs(job.env["TMPDIR"], exist_ok=True)
    return subprocess.Popen(
        job.argv,
        cwd=job.cwd,
        env=job.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def feed(line: int, target: int) -> None:
    """Carry the host's input to the command; when the host itself is gone, end everything."""
    open_end = True
    while (frame := receive(line)) is not None:
        kind, payload = frame
        if open_end and kind is Kind.STDIN:
            try:
                view = memoryview(payload)
                while view:
                    view = view[os.write(target, view) :]
            except BrokenPipeError:  # the command reads no more
                open_end = False
                os.close(target)
        elif open_end:
            open_end = False
            os.close(target)
    os._exit(1)  # as PID 1: the kernel stops at once


def pump(source: int, line: int, kind: Kind, lock: threading.Lock) -> None:
    """Carry one output stream of the command to the host until its end."""
    while data := os.read(source, CHUNK):
        with lock:
            send(line, kind, data)


def wait_for(pid: int) -> int:
    """Reap children, ours and orphans, until `pid` ends; its exit code as a shell gives it."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def mount(kind: str, target: str, data: str = "") -> None:
    """Mount a file system of type `kind`; raises OSError."""
    done = libc.mount(kind.encode(), os.fsencode(target), kind.encode(), 0, os.fsencode(data))
    check(done, f"cannot mount {kind} on {target}")


def check(result: int, message: str) -> None:
    """Raise the OSError a C function left in errno when `result` is not 0."""
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{message}: {os.strerror(code)}")


if __name__ == "__main__":
    main()
