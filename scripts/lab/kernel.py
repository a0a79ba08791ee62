"""Starts and ends the user-mode kernel: its parts, memory, disks, serial line.

Flow: launch.py asks for a running kernel and talks to init.py over the line it gets back.
Rule: what the kernel uses is an open descriptor or the one temporary directory, so nothing stays behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
CACHE = Path(os.environ["ZDIFFSYNC_CACHE"])
KERNEL = CACHE / "zfs-lab"  # linux, spl.ko and zfs.ko, brought there by scripts/setup
WAKE_SECONDS = 5
XSTATE = CACHE / "zfs-lab-xstate.so"  # compiled there from xstate.c


class LabError(Exception):
    """The lab cannot run; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A running kernel."""

    line: int  # descriptor of our end of the serial line
    folder: Path  # the temporary directory; the lab sees it under the same name
    console: BinaryIO
    process: subprocess.Popen[bytes]

    def keep_awake(self) -> None:
        """Have timer interrupts come, whatever the kernel does; to be called once it is up.

        Seldom the kernel loses the timer it waits for: it spins in its idle loop then, and all inside stops.
        """

        def wake() -> None:
            while self.process.poll() is None:
                self.process.send_signal(signal.SIGALRM)
                time.sleep(WAKE_SECONDS)

        threading.Thread(target=wake, daemon=True).start()

    def last_words(self) -> str:
        """Give what the kernel said on its console, without the register dump of a panic."""
        self.console.seek(0)
        text = self.console.read().decode(errors="replace")
        said = text.partition("\nCall Trace:")[0].partition("\nCPU:")[0]
        if "ptrace" in said.lower():
            return (
                "this machine forbids ptrace, as a container without the capability SYS_PTRACE does\n" + said
            )
        return said[-3000:].strip()


def memory_directory(needed: int) -> str:
    """Find a directory with `needed` bytes free that allows executable maps; raises LabError."""
    # The kernel unlinks its memory file at once; /dev/shm first, for a disk would be written to.
    for place in dict.fromkeys(("/dev/shm", tempfile.gettempdir(), "/var/tmp")):  # noqa: S108 - candidates only
        with contextlib.suppress(OSError):
            state = os.statvfs(place)
            if state.f_bavail * state.f_frsize >= needed and not state.f_flag & os.ST_NOEXEC:
                return place
    raise LabError(
        f"no temporary directory has {needed >> 20} MiB free for memory: set TMPDIR, or lower --mem"
    )


@contextlib.contextmanager
def running(memory: int, disks: Sequence[int]) -> Iterator[Kernel]:
    """Run a kernel with `memory` bytes and empty disks of these sizes in bytes; raises LabError.

    At the end of the context the kernel and all its helper processes are killed.
    """
    with contextlib.ExitStack() as stack:
        console = stack.enter_context(tempfile.TemporaryFile())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zfs-lab-")))
        images = []
        for size in disks:
            image = stack.enter_context(tempfile.TemporaryFile())
            image.truncate(size)
            images.append(f"/proc/{os.getpid()}/fd/{image.fileno()}")
        ours, theirs = socket.socketpair()
        stack.enter_context(ours)
        with theirs:
            process = subprocess.Popen(
                _command(folder, memory, images, theirs.fileno()),
                env={
                    "PATH": os.defpath,
                    "TMPDIR": memory_directory(memory),
                    "HOME": str(folder),
                    "LD_PRELOAD": str(XSTATE),
                },
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        stack.callback(_end, process)
        # Kernel and processes take turns; a turn that wakes an idle core takes several times as long.
        os.sched_setaffinity(process.pid, {_free_core(stack)})
        yield Kernel(ours.fileno(), folder, console, process)


def _free_core(stack: contextlib.ExitStack) -> int:
    """Choose a core that no other lab runs on, if there is one."""
    cores = list(os.sched_getaffinity(0))
    for core in cores:
        lock = (CACHE / f"lab-core-{core}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        stack.callback(lock.close)
        return core
    return secrets.choice(cores)


def _command(folder: Path, memory: int, images: Sequence[str], line: int) -> list[str]:
    first_process = [sys.executable, "-I", "-S", str(HERE / "init.py")]
    if any('"' in word for word in first_process):
        raise LabError(f"the lab cannot start from a path with a quotation mark: {HERE}")
    program, *arguments = [f'"{word}"' if " " in word else word for word in first_process]
    return [
        str(KERNEL / "linux"),
        *("rootfstype=hostfs", "rootflags=/", "rw", "quiet", f"mem={memory >> 20}M"),
        *(f"uml_dir={folder}", f"umid=lab-{secrets.token_hex(8)}"),
        *("con=null", "con0=null,fd:2", "ssl=null", f"ssl1=fd:{line}"),
        *(f"ubd{index}={image}" for index, image in enumerate(images)),
        *(f"init={program}", "--", *arguments),
    ]


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
