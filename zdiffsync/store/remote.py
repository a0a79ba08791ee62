"""A repository that is opened by the first read that needs it.

What looking at points stands on: most of it is answered from the catalog and the caches, and then no
password is asked for and no process started. Rule: reads only.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

from zdiffsync.store.area import Area
from zdiffsync.store.repository import Repository


class LazyRepository:
    """Opens with `opener` once, at the first use, by whatever thread; a context manager that closes it."""

    def __init__(self, opener: Callable[[], AbstractContextManager[Repository]]) -> None:
        self._opener = opener
        self._stack = ExitStack()
        self._lock = Lock()
        self._repository: Repository | None = None
        self.plain = LazyArea(lambda: self.opened.store.plain)
        self.data = LazyArea(lambda: self.opened.store.data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._stack.close()

    @property
    def received(self) -> int:
        """Bytes read from the remote so far."""
        store = None if self._repository is None else self._repository.store
        return 0 if store is None else store.plain.received + store.data.received

    @property
    def opened(self) -> Repository:
        """The repository; raises what `open_repository` raises, each time until it succeeds."""
        with self._lock:
            if self._repository is None:
                self._repository = self._stack.enter_context(self._opener())
            return self._repository


class LazyArea:
    """The reading half of an Area, opened when it is first used."""

    def __init__(self, area: Callable[[], Area]) -> None:
        self._area = area

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`; see Area.read."""
        return self._area().read(name, offset, length)

    def read_up_to(self, name: str, offset: int, length: int) -> bytes:
        """Return at most `length` bytes from `offset`; see Area.read_up_to."""
        return self._area().read_up_to(name, offset, length)

    def read_all(self, name: str, most: int) -> bytes:
        """Return a whole object of at most `most` bytes; see Area.read_all."""
        return self._area().read_all(name, most)

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return name and size in bytes of every object below a folder; see Area.sizes."""
        return self._area().sizes(prefix)

    def size(self, name: str) -> int | None:
        """Return an object's size in bytes, None when it is not there; see Area.size."""
        return self._area().size(name)

    def download(self, name: str, path: Path, progress: Callable[[int], None]) -> None:
        """Write a whole object to a new private file; see Area.download."""
        self._area().download(name, path, progress)


ReadableArea = Area | LazyArea
