"""A restore drill: files of a point restored for real, from the remote alone, looked at, and thrown away.

A step of check, on request. Rule: it is the restore that people use, into a directory of its own, which is
gone afterwards.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from zdiffsync.errors import ToolError
from zdiffsync.external.files import FileSource
from zdiffsync.external.tree import SnapshotTree
from zdiffsync.maintain.findings import CheckReport, Finding, file_name
from zdiffsync.maintain.sample import Sample
from zdiffsync.restore.compare import metadata_changes
from zdiffsync.restore.overwrite import Overwrite
from zdiffsync.restore.plan import Item, Request
from zdiffsync.restore.restore import Restorer

_BLOCK = 1 << 20


def drill(restorer: Restorer, sample: Sample, folder: Path, root: bytes | None, report: CheckReport) -> None:
    """Restore a sample below `folder`; compare it with the snapshot at `root` where there is one.

    Raises RemoteError, UsageError when `folder` is full.
    """
    point = sample.point
    report.findings += sample.findings
    report.restored_point = point.key
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="zdiffsync-drill-", dir=folder) as place:
        items = tuple(Item(path, *_place(path)) for path in sorted(sample.files))
        if not items:
            return
        began = monotonic()
        done = restorer.restore(restorer.plan(Request(point, Path(place), items, Overwrite.NEVER)))
        report.restore_seconds = monotonic() - began
        report.files_restored += done.files
        report.bytes_restored += done.bytes_restored
        failed = {path for path, _ in done.failed}
        report.findings += [_finding(sample, path, f"cannot be restored: {why}") for path, why in done.failed]
        report.notes += [f"restore drill: {text}" for text in done.warnings]
        if root is None:
            report.notes.append(
                f"point {point.key} has no snapshot here: what was restored was held against digests only"
            )
            return
        for path in sample.files.keys() - failed:
            try:
                changes = _changes(os.fsencode(place), root, path)
            except (ToolError, OSError) as error:
                report.notes.append(f"{file_name(point.dataset, path)} cannot be compared: {error}")
                continue
            if changes:
                what = f"was restored otherwise than it is in the snapshot: {', '.join(changes)}"
                report.findings.append(_finding(sample, path, what))


def _finding(sample: Sample, path: bytes, what: str) -> Finding:
    return Finding(file_name(sample.point.dataset, path), what, points=(sample.point.key,))


def _place(path: bytes) -> tuple[bytes, bytes]:
    head, _, name = path.rpartition(b"/")
    return head, name


def _changes(place: bytes, root: bytes, path: bytes) -> list[str]:
    with (
        SnapshotTree(root) as snapshot,
        SnapshotTree(place) as restored,
        snapshot.opened(path) as one,
        restored.opened(path) as other,
    ):
        changes = metadata_changes(snapshot.entry(path), restored.entry(path))
        if os.geteuid():  # owners are root's to give
            changes = [each for each in changes if each not in {"owner", "xattrs"}]
        was, now = FileSource(one), FileSource(other)
        same = was.size == now.size and all(
            was.read(at, min(_BLOCK, was.size - at)) == now.read(at, min(_BLOCK, was.size - at))
            for at in range(0, was.size, _BLOCK)
        )
    return changes if same else [*changes, "bytes"]
