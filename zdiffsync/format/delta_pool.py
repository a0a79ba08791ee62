"""The workers of the encoder: threads for zstd and digests, killable processes for bsdiff.

zstd and hashing let other threads run; bsdiff can take hours on unlucky input and must be endable.
Rule: whatever happens to a worker process, the caller gets a patch or None, and no process is left behind.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from threading import Lock, Thread
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from zdiffsync.format.delta_patch import make_patch

_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")
# A worker told to stop is idle and needs an instant; one that needs longer is stuck.
_STOP_SECONDS = 5.0


@dataclass(slots=True)
class Effort:
    """What a run has spent on strong forms (seconds of one core), and stored in windows (bytes)."""

    seconds: float = 0.0
    stored: int = 0


class DeltaPool:
    """`workers` threads (default: one per usable core), each with a bsdiff process when it first needs one.

    Use as a context manager, or `close` it.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or len(os.sched_getaffinity(0))
        self.effort = Effort()
        self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="delta")
        self._idle: list[_Worker] = []
        self._lock = Lock()

    def submit(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run `function` in a thread of the pool."""
        return self._threads.submit(function, *args, **kwargs)

    def bsdiff(self, old: bytes, new: bytes, seconds: float) -> bytes | None:
        """Return the `make_patch` payload from `old` to `new`, or None if it took more than `seconds`.

        To be called from within `submit`, which bounds how many run at once.
        """
        worker: _Worker | None = None
        patch: bytes | None = None
        try:
            worker = self._taken() or _Worker()
            patch = worker.diff(old, new, seconds)
        except (EOFError, OSError) as error:
            # What is lost is a smaller form of one window, not the backup.
            _log.warning("a bsdiff worker died on a window of %d bytes: %r", len(new), error)
        finally:
            if worker and patch is None:
                worker.kill()
        if worker and patch is not None:
            with self._lock:
                self._idle.append(worker)
        return patch

    def close(self) -> None:
        """Finish what is under way, drop what is not, and end all worker processes."""
        self._threads.shutdown(cancel_futures=True)
        while self._idle:
            self._idle.pop().stop()

    def _taken(self) -> "_Worker | None":
        with self._lock:
            return self._idle.pop() if self._idle else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Worker:
    """One process that diffs what it is sent."""

    def __init__(self) -> None:
        # A fresh interpreter, never a fork: the parent has threads, and its memory may be large.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def diff(self, old: bytes, new: bytes, seconds: float) -> bytes | None:
        self._pipe.send_bytes(old)
        self._pipe.send_bytes(new)
        if not self._pipe.poll(seconds):
            _log.info("bsdiff of a window of %d bytes was ended after %.0f s", len(new), seconds)
            return None
        return self._pipe.recv_bytes()

    def stop(self) -> None:
        self._pipe.close()
        self._process.join(_STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()
        self._process.close()


def _serve(pipe: "Connection[bytes, bytes]") -> None:
    # Ctrl-C reaches the whole group: the parent decides, and closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_leave_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        while True:
            old = pipe.recv_bytes()
            new = pipe.recv_bytes()
            pipe.send_bytes(make_patch(old, new))


def _leave_with_parent() -> None:
    # A parent that was killed closes nothing in the middle of a diff, which may have hours to go.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
