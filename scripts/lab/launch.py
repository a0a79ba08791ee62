"""Runs one command in user-mode Linux with real OpenZFS; scripts/zfs-lab is its door.

Flow: command line, ZFS's tools, a running kernel, the job, then the command's streams up to its exit code.
Rule: seen from outside the lab is the command itself: its streams, its exit code, and it ends when we end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from frames import Job, Kind, receive, send, write_all
from kernel import CACHE, CHECKOUT, KERNEL, Kernel, LabError, running

FAILED = 125  # our own failure, as with env(1)
TIMED_OUT = 124  # as with timeout(1)
MOST_DISKS = 8  # user-mode Linux has ubda to ubdh
INPUT_CHUNK = 1 << 20  # bytes of input handed over at once
INPUT_AHEAD = 4  # such chunks the command has not read yet
ENDING: dict[int, int | None] = {  # signals that end the lab, and our exit code then where it isn't 128+n
    signal.SIGINT: None,
    signal.SIGTERM: None,
    signal.SIGHUP: None,
    signal.SIGALRM: TIMED_OUT,
    signal.SIGUSR1: FAILED,  # from our own thread
}
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Ended(Exception):  # noqa: N818 - no error: how a signal or the clock leaves the conversation
    """Something other than the command ended the lab."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def main() -> int:
    """Run the command; its exit code, 124 after --timeout, 125 without a lab, 128+n after a signal."""
    options = arguments()
    try:
        if options.host:
            on_this_machine(options)
        return in_the_lab(options)
    except LabError as error:
        sys.stderr.write(f"zfs-lab: {error}\n")
        return FAILED
    except Ended as ended:
        return ended.code


def arguments() -> argparse.Namespace:
    """Parse the command line: options, then the command with its arguments."""
    parser = argparse.ArgumentParser(
        prog="zfs-lab",
        description="Run CMD as root with real OpenZFS in user-mode Linux; its root is this machine's tree.",
    )
    add = parser.add_argument
    add("--disk", metavar="SIZE", type=size, action="append", help="an empty disk, repeatable: ubda, … (8G)")
    add("--mem", metavar="SIZE", type=size, default=size("4G"), help="memory, taken when touched (4G)")
    add("--timeout", metavar="SECONDS", type=float, default=0.0, help="end the lab after so long, exit 124")
    add("--env", metavar="K=V", action="append", default=[], help="an environment variable, repeatable")
    add("--systemd", action="store_true", help="boot systemd first, with an /etc and /var of the lab's own")
    add("--host", action="store_true", help="run CMD on this machine's own ZFS instead")
    add("command", metavar="CMD", nargs=argparse.REMAINDER, help="what to run, with its arguments")
    options = parser.parse_args()
    if options.command[:1] == ["--"]:
        del options.command[0]
    if not options.command:
        parser.error("CMD is missing")
    if any("=" not in item for item in options.env):
        parser.error("--env takes K=V")
    options.env = dict(item.split("=", 1) for item in options.env)
    options.disk = options.disk or [size("8G")]
    if len(options.disk) > MOST_DISKS:
        parser.error(f"at most {MOST_DISKS} disks")
    return options


def size(text: str) -> int:
    """Give the bytes of a size such as 512M or 8G; raises ValueError."""
    number = text.rstrip("KMGT")
    return int(number) * UNITS[text[len(number) :]]


def on_this_machine(options: argparse.Namespace) -> NoReturn:
    """Become the command, on this machine's own ZFS; raises LabError when it has none."""
    if not Path("/dev/zfs").exists() or shutil.which("zpool") is None:
        raise LabError(
            "--host needs this machine's own ZFS (/dev/zfs and zpool): without --host the lab brings it"
        )
    command = ["timeout", str(options.timeout), *options.command] if options.timeout else options.command
    try:
        os.execvpe(command[0], command, dict(os.environ) | options.env)  # noqa: S606 - that is the task
    except OSError as error:
        raise LabError(f"cannot run {command[0]}: {error.strerror}") from error


def in_the_lab(options: argparse.Namespace) -> int:
    """Run the command in the lab; its exit code. Raises LabError, Ended."""
    setup = [str(CHECKOUT / "scripts" / "setup"), "lab"]
    if subprocess.run(setup, stdin=subprocess.DEVNULL, check=False).returncode != 0:
        raise LabError("it cannot be set up, see above")
    for number in ENDING:
        signal.signal(number, on_signal)
    # Reading a terminal from the background is then an error, which we take for no input.
    signal.signal(signal.SIGTTIN, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, options.timeout)
    with running(options.mem, options.disk) as kernel:
        return converse(kernel, options)


def on_signal(number: int, _frame: object) -> NoReturn:
    """Leave the conversation once; what comes after must not disturb the cleaning up."""
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)
    raise Ended(ENDING.get(number) or 128 + number)


def converse(kernel: Kernel, options: argparse.Namespace) -> int:
    """Hand over the job and carry its streams up to the exit code; raises LabError when the kernel dies."""
    ahead = threading.BoundedSemaphore(INPUT_AHEAD)
    gate = threading.Lock()
    try:
        while (frame := receive(kernel.line)) is not None:
            kind, payload = frame
            if kind is Kind.EXIT:
                return int(payload)
            if kind is Kind.HELLO:
                send(kernel.line, Kind.JOB, json.dumps(asdict(job(options, kernel))).encode())
                kernel.keep_awake()
            elif kind is Kind.READY:
                threading.Thread(target=feed, args=(kernel, ahead, gate), daemon=True).start()
            elif kind is Kind.STDIN_TAKEN:
                ahead.release()
            elif kind is Kind.FAILED:
                sys.stderr.write(f"zfs-lab: {payload.decode()}\n")
            else:
                show(1 if kind is Kind.STDOUT else 2, payload)
        raise LabError(f"the lab's kernel ended early; its last words:\n{kernel.last_words()}")
    finally:
        gate.acquire()  # for good: no more files in a directory about to be removed


def job(options: argparse.Namespace, kernel: Kernel) -> Job:
    """Describe what to run, with a clean environment and the directories the lab must see."""
    cwd = str(Path.cwd())
    tools = CACHE / "zfs-userland"
    path = [f"{tools}/sbin", *os.environ.get("PATH", os.defpath).split(":"), *os.defpath.split(":")]
    env = {
        "PATH": ":".join(dict.fromkeys([*path, "/usr/sbin", "/sbin"])),
        "LD_LIBRARY_PATH": f"{tools}/lib/{platform.machine()}-linux-gnu",
        "HOME": os.environ.get("HOME", "/root"),
        "LANG": "C.UTF-8",
        "TMPDIR": "/mnt/tmp",
        # This kernel restores no AVX-512 registers after a signal: keep them out of every memcpy.
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW",
    }
    env |= {name: value for name, value in os.environ.items() if name.startswith("ZDIFFSYNC_")}
    return Job(
        argv=options.command,
        cwd=cwd,
        env=env | options.env,
        modules=[str(KERNEL / "spl.ko"), str(KERNEL / "zfs.ko")],
        visible=list(
            dict.fromkeys(map(str, (cwd, CHECKOUT, CACHE, sys.prefix, sys.base_prefix, kernel.folder)))
        ),
        systemd=options.systemd,
    )


def feed(kernel: Kernel, ahead: threading.BoundedSemaphore, gate: threading.Lock) -> None:
    """Carry our input to the lab until its end, through files; nobody waits for this thread."""
    # The kernel reads its serial line byte by byte (1 MB/s), the host's files at full speed.
    with contextlib.suppress(OSError):  # the lab has ended
        for number, data in enumerate(iter(read_input, b"")):
            part = kernel.folder / f"input-{number}"
            ahead.acquire()
            try:
                with gate:
                    part.write_bytes(data)
            except OSError as error:
                sys.stderr.write(f"zfs-lab: cannot hand the input over in {part.parent}: {error.strerror}\n")
                os.kill(os.getpid(), signal.SIGUSR1)
                return
            send(kernel.line, Kind.STDIN, os.fsencode(part))
        send(kernel.line, Kind.STDIN_END)


def read_input() -> bytes:
    """Read what our input has now; nothing at its end, or when it is closed or not ours to read."""
    try:
        return os.read(0, INPUT_CHUNK)
    except OSError:
        return b""


def show(fd: int, data: bytes) -> None:
    """Write to our own stream; when nobody reads it any more, end as any filter would. Raises Ended."""
    try:
        write_all(fd, data)
    except BrokenPipeError:
        raise Ended(128 + signal.SIGPIPE) from None


if __name__ == "__main__":
    exit_code = main()
    sys.stderr.flush()
    os._exit(exit_code)  # the thread that reads our input may still wait for a key
