"""Runs one command in user-mode Linux with real OpenZFS; scripts/zfs-lab is its door.

Flow: finds the kernel and its modules, starts the kernel with a serial line to us, hands it the job, carries the streams, ends it.
Rule: everything the lab needs lives in open descriptors or one temporary directory, so nothing stays behind however we end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from frames import CHUNK, Job, Kind, receive, send

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
PARTS = ("linux", "spl.ko", "zfs.ko")
FAILED = 125  # our own exit code, as env(1) and docker(1) use it
TIMED_OUT = 124  # as timeout(1)
BOOT_SECONDS = 60.0
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class LabError(Exception):
    """The lab cannot run; the message says why and what to do."""


class Ended(Exception):  # noqa: N818 - not an error: how a signal or the clock leaves the main loop
    """Something other than the command ended the lab; carries the exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def main() -> int:
    """Run the command line's command; its exit code, 124 after --timeout, 125 when the lab cannot run."""
    options = arguments()
    try:
        if options.host:
            on_this_machine(options)
        return in_the_lab(options)
    except LabError as error:
        print(f"zfs-lab: {error}", file=sys.stderr)
        return FAILED


def arguments() -> argparse.Namespace:
    """Parse the command line: options, then the command with its arguments."""
    parser = argparse.ArgumentParser(
        prog="zfs-lab",
        description="Run CMD as root with real OpenZFS in user-mode Linux, in the current directory of this machine's tree.",
    )
    parser.add_argument(
        "--disk",
        metavar="SIZE",
        type=size,
        action="append",
        help="an empty disk, repeatable: /dev/ubda, /dev/ubdb, … (default: one of 8G; sparse)",
    )
    parser.add_argument(
        "--mem", metavar="SIZE", type=size, default=size("4G"), help="memory (default 4G; taken when touched)"
    )
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=float, help="end the lab after so long, exit 124"
    )
    parser.add_argument(
        "--env", metavar="K=V", action="append", default=[], help="an environment variable, repeatable"
    )
    parser.add_argument("--host", action="store_true", help="run CMD on this machine's own ZFS instead")
    parser.add_argument("command", metavar="CMD", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.command[:1] == ["--"]:
        del options.command[0]
    if not options.command:
        parser.error("CMD is missing")
    if any("=" not in item for item in options.env):
        parser.error("--env takes K=V")
    options.disk = options.disk or [size("8G")]
    if len(options.disk) > 8:  # noqa: PLR2004 - user-mode Linux has ubda to ubdh
        parser.error("at most 8 disks")
    return options


def size(text: str) -> int:
    """Bytes of a size such as 512M or 8G; raises ValueError."""
    number = text.rstrip("KMGTkmgt")
    return int(number) * UNITS[text[len(number) :].upper()]


def environment(options: argparse.Namespace) -> dict[str, str]:
    """The command's environment: a clean one, with what the caller sets for zdiffsync and by --env."""
    userland = cache() / "zfs-userland"
    path = [
        f"{userland}/usr/sbin",
        f"{userland}/sbin",
        *os.environ.get("PATH", os.defpath).split(":"),
        "/usr/sbin",
        "/sbin",
        "/usr/bin",
        "/bin",
    ]
    env = {
        "PATH": ":".join(dict.fromkeys(path)),
        "LD_LIBRARY_PATH": f"{userland}/lib/{platform.machine()}-linux-gnu:{userland}/usr/lib/{platform.machine()}-linux-gnu",
        "HOME": os.environ.get("HOME", "/root"),
        "LANG": "C.UTF-8",
        "TMPDIR": "/mnt/tmp",
    }
    env |= {name: value for name, value in os.environ.items() if name.startswith("ZDIFFSYNC_")}
    return env | dict(item.split("=", 1) for item in options.env)


def on_this_machine(options: argparse.Namespace) -> NoReturn:
    """Become the command, on this machine's own ZFS; raises LabError when it has none."""
    if not Path("/dev/zfs").exists() or shutil.which("zpool") is None:
        raise LabError(
            "--host needs ZFS on this machine: /dev/zfs and the command zpool; leave --host out to use the lab"
        )
    env = dict(os.environ) | dict(item.split("=", 1) for item in options.env)
    command = options.command
    if options.timeout is not None:
        command = ["timeout", str(options.timeout), *command]
    try:
        os.execvpe(command[0], command, env)
    except OSError as error:
        raise LabError(f"cannot run {command[0]}: {error.strerror}") from error


def cache() -> Path:
    """The directory where scripts/setup keeps what it fetched."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zdiffsync"
    return Path(os.environ.get("ZDIFFSYNC_CACHE") or default)


def parts() -> Path:
    """The directory of the kernel and its modules; raises LabError."""
    if platform.machine() != "x86_64":
        raise LabError(
            f"user-mode Linux runs on x86_64 only and this machine is {platform.machine()}; use --host on one with ZFS"
        )
    places = [cache() / "zfs-lab", CHECKOUT.parent / "shared" / "zfs-lab" / "prebuilt"]
    for place in places:
        if all((place / part).is_file() for part in PARTS):
            return place.resolve()
    raise LabError(f"no kernel in {places[0]}; build it once with scripts/zfs-lab-build (about 15 min)")


def memory_directory(needed: int) -> str:
    """A directory whose file system has `needed` bytes free and allows executable maps; raises LabError."""
    for place in dict.fromkeys(("/dev/shm", tempfile.gettempdir(), "/var/tmp")):  # noqa: S108 - only candidates; the kernel unlinks its file at once
        with contextlib.suppress(OSError):
            state = os.statvfs(place)
            if state.f_bavail * state.f_frsize >= needed and not state.f_flag & os.ST_NOEXEC:
                return place
    raise LabError(
        f"no temporary directory has {needed >> 20} MiB free for the lab's memory; set TMPDIR to one, or lower --mem"
    )


def in_the_lab(options: argparse.Namespace) -> int:
    """Start the kernel, run the command, carry its streams; its exit code. Raises LabError."""
    place = parts()
    if (
        subprocess.run(
            [CHECKOUT / "scripts" / "setup", "zfs"], stdin=subprocess.DEVNULL, check=False
        ).returncode
        != 0
    ):
        raise LabError("ZFS's own tools are missing, see above")
    with contextlib.ExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            signal.signal(number, on_signal)
        signal.signal(
            signal.SIGTTIN, signal.SIG_IGN
        )  # in the background our terminal then reads as an error: no input
        try:
            console = stack.enter_context(tempfile.TemporaryFile())
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="zfs-lab-"))
            ours, theirs = stack.enter_context(socket_pair())
            command = kernel_command(place, folder, theirs.fileno(), disks(options.disk, stack), options.mem)
            env = {"PATH": os.defpath, "TMPDIR": memory_directory(options.mem), "HOME": folder}
            kernel = stack.enter_context(kernel_process(command, env, theirs, console))
            theirs.close()
            signal.setitimer(signal.ITIMER_REAL, options.timeout or 0)
            return converse(ours.fileno(), job(options, place), kernel, console)
        except Ended as ended:
            return ended.code
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def on_signal(number: int, _frame: object) -> NoReturn:
    """Leave the main loop: 124 by the clock, 128+n by a signal."""
    raise Ended(TIMED_OUT if number == signal.SIGALRM else 128 + number)


@contextlib.contextmanager
def socket_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected stream sockets, closed at the end."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def disks(sizes: list[int], stack: contextlib.ExitStack) -> list[str]:
    """Unnamed sparse files of these sizes; paths that open them while `stack` lives."""
    files = [stack.enter_context(tempfile.TemporaryFile()) for _ in sizes]
    for file, length in zip(files, sizes, strict=True):
        file.truncate(length)
    return [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in files]


def kernel_command(place: Path, folder: str, line: int, images: list[str], memory: int) -> list[str]:
    """The user-mode kernel's command line; raises LabError."""
    init = [sys.executable, "-I", "-S", str(HERE / "init.py")]
    if any('"' in word for word in init):
        raise LabError(f"the lab cannot start from a path with a quotation mark: {HERE}")
    words = [f'"{word}"' if " " in word else word for word in init]
    return [
        str(place / "linux"),
        f"mem={memory >> 20}M",
        "rootfstype=hostfs", "rootflags=/", "rw", "quiet",
        f"uml_dir={folder}", f"umid=lab-{secrets.token_hex(8)}",
        "con=null", "con0=null,fd:2", "ssl=null", f"ssl1=fd:{line}",
        *(f"ubd{index}={image}" for index, image in enumerate(images)),
        f"init={words[0]}", "--", *words[1:],
    ]  # fmt: skip


@contextlib.contextmanager
def kernel_process(
    command: list[str], env: dict[str, str], line: socket.socket, console: BinaryIO
) -> Iterator[subprocess.Popen[bytes]]:
    """The running kernel; at the end it and all its helper processes are killed."""
    process = subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=console, stderr=console,
        pass_fds=[line.fileno()], start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def job(options: argparse.Namespace, place: Path) -> Job:
    """What the lab is to run, and the directories it must see."""
    cwd = os.getcwd()
    return Job(
        argv=options.command,
        cwd=cwd,
        env=environment(options),
        modules=[str(place / "spl.ko"), str(place / "zfs.ko")],
        visible=list(dict.fromkeys([cwd, str(CHECKOUT), str(cache()), sys.prefix, sys.base_prefix])),
    )


def converse(line: int, what: Job, kernel: subprocess.Popen[bytes], console: BinaryIO) -> int:
    """Hand over the job and carry frames until the exit code comes; raises LabError when the kernel dies first."""
    out = {Kind.STDOUT: 1, Kind.STDERR: 2}
    while (frame := receive(line)) is not None:
        kind, payload = frame
        if kind is Kind.EXIT:
            return int(payload)
        if kind is Kind.HELLO:
            send(line, Kind.JOB, json.dumps(asdict(what)).encode())
        elif kind is Kind.READY:
            threading.Thread(target=feed, args=(line,), daemon=True).start()
        elif kind is Kind.FAILED:
            print(f"zfs-lab: {payload.decode()}", file=sys.stderr)
        else:
            write(out[kind], payload)
    kernel.wait()
    console.seek(0)
    raise LabError(
        f"the lab's kernel ended early; its last words:\n{console.read().decode(errors='replace')[-3000:]}"
    )


def write(fd: int, data: bytes) -> None:
    """Write all of `data`; like any filter, end when nobody reads our output any more."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except BrokenPipeError:
        raise Ended(128 + signal.SIGPIPE) from None


def feed(line: int) -> None:
    """Carry our input to the lab until its end; the process does not wait for this thread."""
    with contextlib.suppress(OSError):  # stdin closed or not ours to read; or the lab is gone
        while data := os.read(0, CHUNK):
            send(line, Kind.STDIN, data)
    with contextlib.suppress(OSError):
        send(line, Kind.STDIN_END)


if __name__ == "__main__":
    code = main()
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.flush()
    os._exit(code)  # the thread that reads our input may still wait for a key
