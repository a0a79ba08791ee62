"""Local ZFS snapshots as a place to take bytes from, instead of the cloud.

Beside the readers: the snapshot of the point itself, or another point's in which a file of the same
path, size and time stands. Rule: gives candidates only; what uses them holds every byte against a digest.
"""

import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from time import monotonic
from typing import Self

from zdiffsync.catalog.catalog import Catalog, Point
from zdiffsync.errors import ToolError
from zdiffsync.external import zfs
from zdiffsync.external.tree import SnapshotTree
from zdiffsync.model.bytesource import Hint
from zdiffsync.model.entry import EntryType
from zdiffsync.restore.tree import Found

_FRESH = 60.0  # seconds a list of snapshots is believed
_SMALLEST = 1  # bytes; an empty file needs no help

Directories = Callable[[str], dict[int, bytes]]


def snapshot_directories(dataset: str) -> dict[int, bytes]:
    """Return where this machine has the snapshots of `dataset`, by guid; nothing where it has none."""
    try:
        return {snap.guid: zfs.snapshot_directory(dataset, snap.label) for snap in zfs.snapshots(dataset)}
    except ToolError:
        return {}


class LocalSnapshots:
    """The local snapshots of all points. Thread-safe; a context manager.

    `keep_open` keeps snapshots and files in them open: fast, but an open snapshot cannot be destroyed.
    `directories` finds where a dataset's snapshots are, by guid.
    """

    def __init__(
        self, catalog: Catalog, *, keep_open: bool, directories: Directories = snapshot_directories
    ) -> None:
        self._catalog, self._keep_open, self._directories = catalog, keep_open, directories
        self._lock = Lock()
        self._found: dict[str, tuple[float, list[tuple[Point, bytes]]]] = {}
        self._trees: dict[bytes, SnapshotTree | None] = {}
        self._files: weakref.WeakSet[_LocalFile] = weakref.WeakSet()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        with self._lock:
            for tree in self._trees.values():
                if tree is not None:
                    tree.__exit__()
            self._trees.clear()
        for file in list(self._files):
            file.close()

    def hint(self, point: Point, found: Found) -> Hint | None:
        """Return where bytes of the file `found` of `point` may be had, None when in no local snapshot."""
        if found.entry.type is not EntryType.FILE or found.entry.size < _SMALLEST:
            return None
        with self._lock:
            for other, root in self._near(point):
                with self._tree(root) as tree:
                    path = None if tree is None else self._path(tree, point, other, found)
                    if path is not None:
                        file = _LocalFile(self, root, path, keep_open=self._keep_open)
                        self._files.add(file)
                        return Hint(file.offer, 0, found.entry.size)
        return None

    def names(self, point: Point) -> list[str]:
        """Return the points whose snapshots are tried for files of `point`, the best first."""
        with self._lock:
            return [other.snapshot for other, _ in self._near(point)]

    def open(self, root: bytes, path: bytes) -> int | None:
        """Open a file of a snapshot for reading; None when that does not work."""
        with self._lock, self._tree(root) as tree:
            if tree is None:
                return None
            try:
                with tree.opened(path) as fd:
                    return os.dup(fd)
            except OSError:
                return None

    def _near(self, point: Point) -> Sequence[tuple[Point, bytes]]:
        """Return points with a local snapshot, `point` itself first, then by distance in time."""
        read, places = self._found.get(point.dataset, (-_FRESH, []))
        if monotonic() - read >= _FRESH:
            directories = self._directories(point.dataset)
            places = [
                (other, directories[other.guid])
                for other in self._catalog.points(point.dataset)
                if other.guid in directories
            ]
            self._found[point.dataset] = (monotonic(), places)
        return sorted(places, key=lambda place: abs(place[0].created_ns - point.created_ns))

    @contextmanager
    def _tree(self, root: bytes) -> Iterator[SnapshotTree | None]:
        if root not in self._trees:
            try:
                self._trees[root] = SnapshotTree(root)
            except ToolError:  # destroyed since it was listed, or not to be read by this user
                self._trees[root] = None
        try:
            yield self._trees[root]
        finally:
            if not self._keep_open and (tree := self._trees.pop(root)) is not None:
                tree.__exit__()

    def _path(self, tree: SnapshotTree, point: Point, other: Point, found: Found) -> bytes | None:
        if _same(tree, found.path, found):
            return found.path
        if other.chain_id == point.chain_id and other.key != point.key:
            with self._catalog.view(other) as view:
                for path in view.paths(found.node):
                    if path != found.path and _same(tree, path, found):
                        return path
        return None


def _same(tree: SnapshotTree, path: bytes, found: Found) -> bool:
    try:
        info = tree.lstat(path)
    except OSError:
        return False
    return (
        info is not None
        and EntryType.of_mode(info.st_mode) is EntryType.FILE
        and (info.st_size, info.st_mtime_ns) == (found.entry.size, found.entry.mtime_ns)
    )


class _LocalFile:
    """One file of a snapshot; opened for each question, or with `keep_open` once, at the first."""

    def __init__(self, snapshots: LocalSnapshots, root: bytes, path: bytes, *, keep_open: bool) -> None:
        self._snapshots, self._root, self._path = snapshots, root, path
        self._keep_open = keep_open
        self._kept: int | None = None
        self._closing: Callable[[], object] = lambda: None
        self._lock = Lock()

    def close(self) -> None:
        """Close it; it is not asked any more."""
        self._closing()

    def offer(self, offset: int, length: int) -> bytes | None:
        fd = self._open()
        if fd is None:
            return None
        try:
            return os.pread(fd, length, offset)
        except OSError:  # its disk is failing
            return None
        finally:
            if not self._keep_open:
                os.close(fd)

    def _open(self) -> int | None:
        if not self._keep_open:
            return self._snapshots.open(self._root, self._path)
        with self._lock:
            if self._kept is None:
                self._kept = self._snapshots.open(self._root, self._path)
                if self._kept is not None:
                    self._closing = weakref.finalize(self, os.close, self._kept)
            return self._kept
