"""The lab's first process: prepares the machine, loads OpenZFS, runs one command, reports its exit code.

Flow: the kernel starts it from the host's tree (hostfs); launch.py talks to it over a serial line.
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
import time
import tty
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from frames import Job, Kind, receive, send, write_all

LINE = "/dev/ttyS1"
FRESH = (Path("/run"), Path("/mnt"), Path("/dev/shm"))  # noqa: S108 - mount points of a fresh tmpfs each
OWN = Path("/run/zfs-lab")  # what is written to /etc and /var of a lab with systemd
CHUNK = 64 * 1024  # bytes: as much as a pipe holds
SIOCSIFFLAGS = 0x8914
IFF_UP = 1
MS_REC, MS_SHARED = 0x4000, 0x100000
SYS_FINIT_MODULE = 313  # x86_64; user-mode Linux runs nowhere else here

libc = ctypes.CDLL(None, use_errno=True)
speaking = threading.Lock()  # one frame at a time on the line


def main() -> None:
    """Run the job that comes over the line; returns when there is none, and the kernel stops."""
    line = os.open(LINE, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(line, termios.TCSANOW)
    send(line, Kind.HELLO)  # only now: what came before raw mode would have been edited as typed text
    frame = receive(line)
    if frame is None:
        return
    job = Job(**json.loads(frame[1]))
    try:
        prepare(job)
        if job.systemd:
            boot_systemd(job.env)
        code = run(job, line)
    except OSError as error:
        send(line, Kind.FAILED, str(error).encode())
        code = 127 if isinstance(error, FileNotFoundError) else 126
    # Memory maps of the host's files must reach them; the disks are thrown away.
    subprocess.run(["sync", "-f", "/"], check=False)
    send(line, Kind.EXIT, str(code).encode())
    signal.pause()  # the host ends the machine


def prepare(job: Job) -> None:
    """Mount file systems (/dev the kernel mounts itself), bring loopback up, load OpenZFS; raises OSError."""
    mount("proc", Path("/proc"))
    mount("sysfs", Path("/sys"))
    for name in ("pts", "shm"):
        Path("/dev", name).mkdir()
    mount("devpts", Path("/dev/pts"), "ptmxmode=666")
    for name, own in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        Path("/dev", name).symlink_to(f"/proc/self/{own}")
    modules = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in job.modules]
    for target in FRESH:
        mount("tmpfs", target)
    for path in map(Path, job.visible):
        if any(path.is_relative_to(target) for target in FRESH):
            path.mkdir(parents=True, exist_ok=True)
            mount("hostfs", path, str(path))
    socket.sethostname("zfs-lab")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
    for module in modules:
        check(libc.syscall(SYS_FINIT_MODULE, module, b"", 0), "cannot load an OpenZFS module")
        os.close(module)


def boot_systemd(env: dict[str, str]) -> None:
    """Have systemd become process 1, with a journal and nothing else; return, in a child, once it is up."""
    for place in ("etc", "var"):
        upper, work = (OWN / place / part for part in ("upper", "work"))
        for folder in (upper, work):
            folder.mkdir(parents=True)
        mount("overlay", Path("/", place), f"lowerdir=/{place},upperdir={upper},workdir={work}")
    mount("cgroup2", Path("/sys/fs/cgroup"))
    check(libc.mount(None, b"/", None, MS_REC | MS_SHARED, None), "cannot share mounts")
    units = Path("/etc/systemd/system")
    for wanted in Path("/usr/lib/systemd/system").glob("*.target.wants/*"):
        if not wanted.name.startswith("systemd-journald"):
            (units / wanted.name).unlink(missing_ok=True)
            (units / wanted.name).symlink_to("/dev/null")
    (units / "zfs-lab.target").write_text("[Unit]\nWants=systemd-journald.service\n", encoding="ascii")
    passed = [f'"{name}={text}"' for name, text in env.items() if name not in {"PATH", "HOME", "TMPDIR"}]
    config = Path("/etc/systemd/system.conf.d/zfs-lab.conf")
    config.parent.mkdir(exist_ok=True)
    config.write_text(f"[Manager]\nDefaultEnvironment={' '.join(passed)}\n", encoding="utf-8")
    if os.fork():
        os.execve("/usr/lib/systemd/systemd", ["systemd", "--unit=zfs-lab.target"], {"container": "zfs-lab"})  # noqa: S606
    os.setsid()
    while not Path("/run/systemd/private").exists():
        time.sleep(0.05)


def mount(kind: str, target: Path, data: str = "") -> None:
    """Mount a file system of type `kind`; raises OSError."""
    done = libc.mount(kind.encode(), os.fsencode(target), kind.encode(), 0, os.fsencode(data))
    check(done, f"cannot mount {kind} on {target}")


def check(result: int, message: str) -> None:
    """Raise the OSError a C function left in errno when `result` is not 0."""
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{message}: {os.strerror(code)}")


def run(job: Job, line: int) -> int:
    """Run the job's command its streams on the line; its exit code. Raises OSError when it can't start."""
    Path(job.env["TMPDIR"]).mkdir(parents=True, exist_ok=True)
    pipes = [os.pipe() for _ in range(3)]
    (stdin, feeding), (reading_out, stdout), (reading_err, stderr) = pipes
    child = subprocess.Popen(
        job.argv, cwd=job.cwd, env=job.env, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
    )
    for fd in (stdin, stdout, stderr):
        os.close(fd)
    send(line, Kind.READY)
    threading.Thread(target=feed, args=(line, feeding), daemon=True).start()
    pumps = [
        threading.Thread(target=pump, args=(source, line, kind))
        for source, kind in ((reading_out, Kind.STDOUT), (reading_err, Kind.STDERR))
    ]
    for thread in pumps:
        thread.start()
    code = reap(child.pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)  # what the command left behind would keep its pipes open
    for thread in pumps:
        thread.join()
    return code


def feed(line: int, target: int) -> None:
    """Carry the host's input to the command; when the host itself is gone, end the machine."""
    reads = True
    while (frame := receive(line)) is not None:
        kind, payload = frame
        if kind is Kind.STDIN:
            part = Path(os.fsdecode(payload))
            try:
                if reads:
                    write_all(target, part.read_bytes())
            except BrokenPipeError:
                reads = False
            part.unlink()
            with speaking:
                send(line, Kind.STDIN_TAKEN)
        else:
            os.close(target)
    os._exit(1)


def pump(source: int, line: int, kind: Kind) -> None:
    """Carry one output stream of the command to the host until its end."""
    while data := os.read(source, CHUNK):
        with speaking:
            send(line, kind, data)


def reap(pid: int) -> int:
    """Collect ended children, ours and orphans, until `pid` is one; its exit code as a shell gives it."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    main()
