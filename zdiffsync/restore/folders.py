"""Open directories of the target, each finished when the last thing in it is in place.

Below the assembler, whose threads put files into many of them at once. Rule: a directory gets its
metadata last, through its own descriptor, and then it is closed.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Self

from zdiffsync.errors import IntegrityError


class Folder:
    """An open directory; `path` is its path in the target. It begins with one user, who opened it."""

    def __init__(self, descriptor: int, path: bytes, finish: Callable[[int], None]) -> None:
        self.descriptor, self.path = descriptor, path
        self._finish = finish
        self._users = 1
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.drop()

    def hold(self) -> Self:
        """Take part in it: it stays open until `drop`."""
        with self._lock:
            self._users += 1
        return self

    def drop(self) -> None:
        """Be done with it."""
        with self._lock:
            self._users -= 1
            last = not self._users
        if last:
            try:
                self._finish(self.descriptor)
            finally:
                os.close(self.descriptor)

    def inside(self, name: bytes) -> bytes:
        """Return the path of `name` in it."""
        return self.path + b"/" + name if self.path else name


def is_name(name: bytes) -> bool:
    """Whether a name stays in its directory."""
    return name not in {b"", b".", b".."} and b"/" not in name and b"\0" not in name


def check_name(name: bytes) -> None:
    """Raise IntegrityError for a name that would lead out of its directory."""
    if not is_name(name):
        raise IntegrityError(f"refusing to restore a file named {name!r}")


def open_folder(directory: int, name: bytes) -> int:
    """Open a directory that is no symlink. Raises IntegrityError for a name that leads elsewhere."""
    check_name(name)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, dir_fd=directory)


@contextmanager
def reach(root: int, path: bytes) -> Iterator[int]:
    """Open the directory `path` below `root` step by step, so that no length and no symlink matters."""
    fd = os.dup(root)
    try:
        for name in path.split(b"/") if path else ():
            inner = open_folder(fd, name)
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)
