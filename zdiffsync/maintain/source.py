"""Comparing what the remote gives back with the ZFS snapshot of the same instant.

A step of check, on request. No digest is trusted here: bytes are held against bytes, names against names.
Rule: a snapshot is opened for one file at a time, so that a run can destroy it in between.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from zdiffsync.backup.excludes import Excludes
from zdiffsync.bases.bases import Bases
from zdiffsync.catalog.catalog import Catalog, Point
from zdiffsync.errors import IntegrityError, ObjectMissingError
from zdiffsync.external.files import FileSource
from zdiffsync.external.tree import SnapshotTree
from zdiffsync.maintain.findings import CheckReport, Finding, file_name
from zdiffsync.maintain.sample import Sample
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.model.progress import Progress
from zdiffsync.restore.compare import metadata_changes
from zdiffsync.restore.contents import FetchBlob
from zdiffsync.restore.files import PointFiles
from zdiffsync.restore.tree import Found

_PART = 4 << 20  # bytes
_PARTS = 4  # of a file too large to be read whole


def cost(size: int) -> int:
    """Return how many bytes of a file of `size` bytes are compared."""
    return min(size, _PART * _PARTS)


class SourceCheck:
    """Compares samples with the snapshot at `root`; `excludes` None: not those the point was made with."""

    def __init__(
        self, catalog: Catalog, bases: Bases, fetch: FetchBlob, root: bytes, excludes: Excludes | None
    ) -> None:
        self._catalog, self._bases, self._fetch = catalog, bases, fetch
        self._root, self._excludes = root, excludes

    def compare(self, sample: Sample, report: CheckReport, random: Random, progress: Progress) -> None:
        """Add what differs to `report`. Raises RemoteError; ToolError when the snapshot is gone meanwhile."""
        point = sample.point
        report.findings += sample.findings
        with self._catalog.view(point) as view:
            files = PointFiles(view, self._bases, point, self._fetch, None)
            for found in sample.files.values():
                try:
                    local = self._local(found, random)
                except OSError as error:
                    name = file_name(point.dataset, found.path)
                    report.notes.append(f"{name} cannot be read in the snapshot: {error.strerror}")
                else:
                    report.files_compared += 1
                    report.bytes_compared += sum(len(data) for _, data in local.parts)
                    report.findings += [
                        _finding(point, found.path, what) for what in _differences(files, found, local)
                    ]
                progress.advance(1)
        if self._excludes is not None:
            for path, names in sample.directories.items():
                report.findings += self._names(point, path, names, self._excludes)

    def _local(self, found: Found, random: Random) -> "_Local":
        with SnapshotTree(self._root) as tree:
            info = tree.lstat(found.path)
            if info is None:
                return _Local(None, ())
            entry = tree.entry(found.path, info)
            if entry.type is not EntryType.FILE:
                return _Local(entry, ())
            with tree.opened(found.path) as descriptor:
                source = FileSource(descriptor)
                parts = tuple((at, source.read(at, length)) for at, length in _parts(source.size, random))
            return _Local(entry, parts)

    def _names(
        self, point: Point, path: bytes, names: tuple[bytes, ...], excludes: Excludes
    ) -> Iterator[Finding]:
        skipped = {bytes.fromhex(each) for each in point.stats.get("skipped_paths", ())}
        above = path + b"/" if path else b""
        with SnapshotTree(self._root) as tree:
            there = {
                each.name for each in tree.names(path)
                if not excludes.matches(above + each.name, directory=each.directory)
                and above + each.name not in skipped
            }  # fmt: skip
        for name in sorted(there.difference(names)):
            yield _finding(point, above + name, "is in the snapshot and not in the backup")


def _finding(point: Point, path: bytes, what: str) -> Finding:
    return Finding(file_name(point.dataset, path), what, points=(point.key,))


@dataclass(frozen=True, slots=True)
class _Local:
    """What the snapshot has: None where it has nothing, and some of the bytes, by offset."""

    entry: Entry | None
    parts: tuple[tuple[int, bytes], ...]


def _parts(size: int, random: Random) -> Iterator[tuple[int, int]]:
    """Yield offset and length of what is compared: all of it, or parts of what is large."""
    if size <= _PART * _PARTS:
        yield 0, size
        return
    for start in sorted(random.sample(range(size - _PART), _PARTS)):
        yield start, _PART


def _seen(entry: Entry) -> Entry:
    """Return an entry as every user sees it: `trusted` attributes are shown to root only."""
    if not os.geteuid():
        return entry
    return replace(entry, xattrs=tuple(each for each in entry.xattrs if not each[0].startswith(b"trusted.")))


def _differences(files: PointFiles, found: Found, local: _Local) -> Iterator[str]:
    if local.entry is None:
        yield "the snapshot does not have it"
        return
    changes = metadata_changes(_seen(found.entry), _seen(local.entry))
    if found.entry.size != local.entry.size:
        changes.append("size")
    else:
        try:
            source = files.open(found)
            if any(source.read(at, len(data)) != data for at, data in local.parts):
                changes.append("bytes")
        except (IntegrityError, ObjectMissingError) as error:
            yield str(error)
    if changes:
        yield f"differs from the snapshot: {', '.join(changes)}"
