"""Steps and faults: every call that leaves the program is a step, and a fault waits at one of them.

A step has a kind, such as `remote.upload.pack`; a fault is named by kind, number and what happens, so that
the same one can be made to happen again. Rule: without a fault nothing here changes what the program does.
"""

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Engine, event

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_AUDITED = {
    "os.mkdir": "disk.mkdir", "os.rename": "disk.rename", "os.remove": "disk.remove",
    "os.rmdir": "disk.remove", "os.link": "disk.link", "os.symlink": "disk.link",
    "os.chmod": "disk.meta", "os.chown": "disk.meta", "os.utime": "disk.meta",
    "os.setxattr": "disk.meta", "os.truncate": "disk.meta",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """`what` happens at the `number`-th step (from 1) of a kind."""

    kind: str
    number: int
    what: str

    def __str__(self) -> str:
        return f"{self.kind}#{self.number}/{self.what}"

    @classmethod
    def parse(cls, text: str) -> "Fault":
        place, _, what = text.rpartition("/")
        kind, _, number = place.partition("#")
        return cls(kind, int(number), what)


class Steps:
    """Counts the steps of one process. `save` is called before it kills itself, `fill` fills its disk."""

    def __init__(self, fault: Fault | None, save: Callable[[], None], fill: Callable[[], None]) -> None:
        self.counts: Counter[str] = Counter()
        self.fired = False
        self.dead = ""  # "remote": nothing of it answers any more
        self._fault, self._save, self._fill = fault, save, fill
        self._lock = threading.RLock()
        self._own = threading.local()

    def reached(self, kind: str) -> str:
        """Count a step; return what is to go wrong at it ("" for nothing). May not return at all."""
        with self._lock:
            self.counts[kind] += 1
            fault = self._fault
            if fault is None or fault.kind != kind or fault.number != self.counts[kind]:
                return ""
            self.fired = True
        if fault.what == "kill":
            self.kill()
        if fault.what == "full":
            self._fill()
            return ""
        if fault.what == "down":
            self.dead = kind.partition(".")[0]
        return fault.what

    def done(self, what: str) -> None:
        """Tell that the effect of a step has come about; dies here of a kill behind it."""
        if what == "kill-after":
            self.kill()

    def kill(self) -> None:
        """Die as of kill -9."""
        with self._lock:
            self._save()
            os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def outside(self) -> Iterator[None]:
        """What the world does itself is no step of the program."""
        before = getattr(self._own, "outside", False)
        self._own.outside = True
        try:
            yield
        finally:
            self._own.outside = before

    @contextmanager
    def watching(self, home: str) -> Iterator[None]:
        """Make steps of what the body writes below `home`, and of the catalog's transactions."""
        _install()
        _watching[:] = [(self, os.fsencode(home))]
        try:
            yield
        finally:
            _watching.clear()

    def written(self, path: object, home: bytes) -> bool:
        """Whether the program itself writes a path of its disk now."""
        if getattr(self._own, "outside", False):
            return False
        if isinstance(path, (str, os.PathLike)):
            path = os.fsencode(path)
        if not isinstance(path, bytes):
            return False
        return path.startswith((home, b"/proc/self/fd/")) or path[:1] != b"/"


_watching: list[tuple[Steps, bytes]] = []


@cache
def _install() -> None:
    """Hear of every file that is written; for good, since an audit hook cannot be taken away."""
    sys.addaudithook(_audit)
    event.listen(Engine, "begin", lambda _connection: _transaction("catalog.begin"))
    event.listen(Engine, "commit", lambda _connection: _transaction("catalog.commit"))


def _audit(name: str, arguments: tuple[object, ...]) -> None:
    if not _watching:
        return
    kind = _AUDITED.get(name)
    if name == "open" and isinstance(flags := arguments[2], int) and flags & _WRITING:
        kind = "disk.open"
    if kind is not None:
        steps, home = _watching[0]
        if steps.written(arguments[0], home):
            steps.reached(kind)


def _transaction(kind: str) -> None:
    if _watching:
        _watching[0][0].reached(kind)
