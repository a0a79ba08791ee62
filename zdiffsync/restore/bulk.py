"""The part of a restore that restic does: many whole files of the base, into the staging folder.

Between planning and assembling. restic restores a small file in a twentieth of a millisecond, where our own
reader takes a third of one; but it takes a second to start, and directories rather than files.
Rule: what restic did not bring, for whatever reason, the assembler reads itself.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from zdiffsync.bases.bases import Bases
from zdiffsync.bases.files import BaseFile
from zdiffsync.external.restic import Restic
from zdiffsync.external.tree import SnapshotTree
from zdiffsync.model.entry import EntryType
from zdiffsync.model.progress import Progress
from zdiffsync.restore.needs import Needs

_FILES, _SIZE = 2_000, 256 << 20  # from so many files or bytes on restic is the faster
_ALONE = 4 << 20  # bytes of a file that is worth naming alone
_NAMES = 1_000  # paths restic is given at most: it holds each against every file
_SHARE = 0.8  # of a directory's files, and of their bytes, that must be wanted, or it is not named


@dataclass(frozen=True, slots=True)
class Bulk:
    """What restic restores: paths of the base with all below them (b'' is everything); sizes in bytes."""

    paths: tuple[bytes, ...]
    files: int
    size: int


@dataclass(slots=True)
class _Amount:
    files: int = 0
    size: int = 0

    def add(self, files: int, size: int) -> None:
        self.files += files
        self.size += size


class Wanted:
    """The files of one base that a restore wants whole; `size` are their bytes, `needs` what they lie in."""

    def __init__(self) -> None:
        self.size = 0
        self.needs = Needs()
        self._below: dict[bytes, _Amount] = {}
        self._inside: dict[bytes, set[bytes]] = {b"": set()}
        self._large: dict[bytes, list[tuple[bytes, int]]] = {}

    def add(self, path: bytes, file: BaseFile) -> None:
        """Add the file at a path of the base. Raises like BaseFile.chunks."""
        self.needs.file(file)
        size = file.size
        self.size += size
        folder = path.rpartition(b"/")[0]
        if size >= _ALONE:
            self._large.setdefault(folder, []).append((path, size))
        while True:
            amount = self._below.get(folder)
            if amount is None:
                amount = self._below[folder] = _Amount()
                if folder:
                    self._inside.setdefault(folder.rpartition(b"/")[0], set()).add(folder)
            amount.add(1, size)
            if not folder:
                return
            folder = folder.rpartition(b"/")[0]

    def bulk(self, bases: Bases, snapshot: str) -> Bulk | None:
        """Return what restic should do, None when it is not worth starting it. Raises like Bases."""
        if not self._worth(self._below.get(b"", _Amount())):
            return None
        paths: list[bytes] = []
        covered = _Amount()
        todo = [b""]
        while todo and len(paths) < _NAMES:
            folder = todo.pop()
            wanted = self._below[folder]
            if _mostly(bases, snapshot, folder, wanted):
                paths.append(folder)
                covered.add(wanted.files, wanted.size)
                continue
            todo += self._inside.get(folder, ())
            for path, size in self._large.get(folder, ()):
                paths.append(path)
                covered.add(1, size)
        if not self._worth(covered):
            return None
        return Bulk(tuple(paths[:_NAMES]), covered.files, covered.size)

    @staticmethod
    def _worth(amount: _Amount) -> bool:
        return amount.files >= _FILES or amount.size >= _SIZE


def _mostly(bases: Bases, snapshot: str, folder: bytes, wanted: _Amount) -> bool:
    """Whether most of what lies below a directory of the base is wanted; looks no further than it must."""
    files, size = wanted.files / _SHARE, wanted.size / _SHARE
    listing = bases.directory(snapshot, folder)
    todo = [] if listing is None else [listing]
    while todo:
        for node in todo.pop().values():
            if node.subtree:
                todo.append(bases.tree(node.subtree))
            elif node.entry.type is EntryType.FILE:
                files -= 1
                size -= node.entry.size
        if files < 0 or size < 0:
            return False
    return True


def fetch(restic: Restic, snapshot: str, bulk: Bulk, folder: Path, progress: Progress) -> bool:
    """Have restic restore `bulk` into `folder`, going on with what an earlier attempt left there.

    Returns whether all of it came, with all its metadata. Raises ToolError, RemoteError, LockedError.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    includes = None if b"" in bulk.paths else bulk.paths
    return not restic.restore(snapshot, None, folder, includes=includes, progress=progress).failed


class StagedBase:
    """What restic brought, in `folder`, by base path. For one thread; a context manager.

    `exact`: its metadata are those of the base.
    """

    def __init__(self, folder: Path, *, exact: bool) -> None:
        self.exact = exact
        self._tree = SnapshotTree(os.fsencode(folder))
        self._directory: tuple[bytes, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        self._tree.__exit__()

    def reach(self, path: bytes) -> tuple[int, bytes] | None:
        """Return the open directory of a path and the name in it; None when there is no such directory.

        The descriptor is good until the next call.
        """
        head, _, name = path.rpartition(b"/")
        if self._directory is None or self._directory[0] != head:
            self._leave()
            with (
                suppress(FileNotFoundError, NotADirectoryError),
                self._tree.opened(head, os.O_DIRECTORY) as fd,
            ):
                self._directory = head, os.dup(fd)
        return None if self._directory is None else (self._directory[1], name)

    def _leave(self) -> None:
        if self._directory is not None:
            os.close(self._directory[1])
            self._directory = None
