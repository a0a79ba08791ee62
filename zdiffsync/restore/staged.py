"""The staged part of a base: what restic wrote, waiting to be moved into place.

Between restic and the assembler. Rule: metadata of directories that will lose children is read
before the first of them moves, because moving changes it.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from zdiffsync.external.files import FileSource
from zdiffsync.external.tree import SnapshotTree
from zdiffsync.model.bytesource import ByteSource
from zdiffsync.model.entry import Entry, EntryType


@dataclass(frozen=True, slots=True)
class Amount:
    """How much a subtree holds; `size` in bytes of file content."""

    files: int = 0
    directories: int = 0
    others: int = 0
    size: int = 0


class StagedBase:
    """A folder that restic has filled, by base path. `mixed` are directories the overlay touches."""

    def __init__(self, folder: bytes, mixed: Iterable[bytes]) -> None:
        self._tree = SnapshotTree(folder)
        self._open: dict[bytes, int] = {}
        self._directories = {path: self._read(path) for path in mixed}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fd in self._open.values():
            os.close(fd)
        self._tree.__exit__()

    def entry(self, path: bytes) -> Entry | None:
        """Return the base's entry at `path`, None when the base has nothing there."""
        return self._directories[path] if path in self._directories else self._read(path)

    def _read(self, path: bytes) -> Entry | None:
        info = self._tree.lstat(path)
        return None if info is None else self._tree.entry(path, info)

    def names(self, path: bytes) -> list[bytes]:
        """Return the names in a directory that have not been moved away."""
        return [item.name for item in self._tree.names(path)]

    def open(self, path: bytes) -> ByteSource:
        """Open a file for reading; it stays readable when it is moved later."""
        if path not in self._open:
            with self._tree.opened(path) as fd:
                self._open[path] = os.dup(fd)
        return FileSource(self._open[path])

    def move(self, path: bytes, directory: int, name: bytes) -> None:
        """Rename `path`, with all below it, to `name` in an open directory."""
        head, _, last = path.rpartition(b"/")
        with self._tree.opened(head, os.O_DIRECTORY) as staged:
            os.rename(last, name, src_dir_fd=staged, dst_dir_fd=directory)

    def amount(self, path: bytes) -> Amount:
        """Count what lies below a directory."""
        files = directories = others = size = 0
        for below, item in self._tree.walk(path):
            if item.directory:
                directories += 1
                continue
            info = self._tree.lstat(below)
            if info is not None and EntryType.of_mode(info.st_mode) is EntryType.FILE:
                files += 1
                size += info.st_size
            else:
                others += 1
        return Amount(files, directories, others, size)
