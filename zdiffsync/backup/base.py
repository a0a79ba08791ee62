"""A base: a whole snapshot handed to restic, and what restic cannot carry kept beside it.

Rule: the restic snapshot is only part of a point once the manifest that names it is uploaded.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from zdiffsync.backup.changes import ChangeSet, Detection
from zdiffsync.backup.choice import Choice
from zdiffsync.backup.commit import Outcome, PointCommit
from zdiffsync.backup.contents import ContentStats
from zdiffsync.backup.detect import Step, detect
from zdiffsync.backup.excludes import Excludes
from zdiffsync.backup.point import PointStats
from zdiffsync.backup.report import PointReport, point_report
from zdiffsync.backup.samples import Samples
from zdiffsync.backup.session import Session
from zdiffsync.backup.since import Since, weigh
from zdiffsync.backup.stopwatch import Stopwatch
from zdiffsync.backup.survey import Survey, supplement, survey
from zdiffsync.backup.tally import Tally
from zdiffsync.backup.tripwire import Finding, UnusualChangesError
from zdiffsync.catalog.catalog import Point
from zdiffsync.errors import ZfsError
from zdiffsync.external import zfs
from zdiffsync.external.restic import BackupSummary, exclude_patterns
from zdiffsync.external.tree import Identity, SnapshotTree
from zdiffsync.format.manifest import Header
from zdiffsync.model.staging import staging
from zdiffsync.store.condemned import read_condemned

_STALL = 3600.0  # seconds without a word from restic; it reports at least its progress


def make_base(
    session: Session,
    header: Header,
    new: zfs.Snapshot,
    excludes: Excludes,
    choice: Choice,
    *,
    accepted: bool,
) -> PointReport:
    """Store one base and commit it; unless `accepted`, only when nothing is unusual about it.

    Raises UnusualChangesError, ResticError, RemoteError, ZfsError; nothing is committed then.
    """
    watch = Stopwatch()
    with SnapshotTree(zfs.snapshot_directory(new.dataset, new.label)) as tree:
        found, since = _look_through(session, header, new, excludes, choice, tree, watch)
        if not accepted and (finding := since.finding(session, header)) is not None:
            raise UnusualChangesError(finding)
        with watch.stage("restic"):
            stored = _store_base(session, header, tree, found, choice)
        changes = supplement(tree, found)
        ours = set(found.names.values()) - {found.names[b""]}

        def base_path(identity: Identity, _old_path: bytes | None) -> bytes | None:
            return None if identity in ours else changes.places[identity][1]

        header = replace(header, restic=stored.snapshot)
        commit = PointCommit(
            session, header, old=None, new=tree, view=None, base_path=base_path, last_numbers=(0, 0)
        )

        def report(outcome: Outcome) -> PointReport:
            seconds = watch.seconds | {"store": outcome.seconds}
            failed = [(os.fsdecode(path), reason) for path, reason in stored.failed]
            made = point_report(
                header, changes.detection, outcome, seconds, reason=choice.reason,
                **since.stats(), bytes_total=found.size,
                read_bytes=stored.read, uploaded_bytes=stored.uploaded + outcome.uploaded,
            )  # fmt: skip
            return replace(
                made,
                skipped=failed + made.skipped,
                skipped_paths=[path.hex() for path, _reason in stored.failed] + made.skipped_paths,
            )

        return report(commit.commit(changes, lambda outcome: report(outcome).as_stats()))


def preview_base(
    session: Session, header: Header, new: zfs.Snapshot, excludes: Excludes, choice: Choice
) -> tuple[PointReport, Finding | None]:
    """Tell what a base would hold and what is unusual about it; stores nothing."""
    watch = Stopwatch()
    with SnapshotTree(zfs.snapshot_directory(new.dataset, new.label)) as tree:
        found, since = _look_through(session, header, new, excludes, choice, tree, watch)
    report = point_report(
        header, Detection("full walk"), Outcome(PointStats(), ContentStats(), 0, 0.0), watch.seconds,
        reason=choice.reason, **since.stats(), bytes_total=found.size,
    )  # fmt: skip
    return report, since.finding(session, header)


def _look_through(
    session: Session,
    header: Header,
    new: zfs.Snapshot,
    excludes: Excludes,
    choice: Choice,
    tree: SnapshotTree,
    watch: Stopwatch,
) -> tuple[Survey, Since]:
    """Walk the new snapshot, and find out what happened since the last point."""
    last = choice.last
    old = None if last is None else zfs.find_snapshot(new.dataset, last.guid)
    compared = None
    if last is not None and old is not None:
        compared = _compare(session, Step(header, last, old, new, excludes), watch)
    with watch.stage("survey"), session.progress("surveying", unit="files") as bar:
        found = survey(tree, excludes, bar.advance, _doubts(session, last, compared and compared[0]))
    if compared is not None:
        since = compared[1]
        return found, replace(since, files=found.files - since.tally.growth)
    before = (last.stats.get("files_total") if last and last.excludes == excludes.digest else None) or 0
    growth = found.files - before
    return found, Since(Tally(deleted=max(0, -growth), growth=growth), Samples(), before)


def _compare(session: Session, step: Step, watch: Stopwatch) -> tuple[ChangeSet, Since] | None:
    """Find out what changed since the last point; None when its snapshot cannot be read.

    That may be the very reason why a base was asked for.
    """
    with suppress(ZfsError, OSError), step.trees() as trees:
        changes = detect(session, step, trees, watch)
        return changes, weigh(session, changes, *trees, None)
    return None


def _doubts(
    session: Session, last: Point | None, changes: ChangeSet | None
) -> Callable[[os.stat_result], bool]:
    """Return what tells files whose content may differ from restic's parent though their times do not.

    A store through mmap can reach the disk after a snapshot without moving any time (see
    docs/send-stream.md); such files go beside the restic snapshot.
    """
    if last is None:
        return lambda _info: False
    chain = (point for point in session.catalog.points() if point.chain == last.chain)
    quiet = {number for point in chain for number in point.stats.get("quiet", ())}
    written = {change.identity.number for change in changes.objects if change.compare} if changes else set()
    since = last.created_ns + 10**9  # ZFS tells a snapshot's time in whole seconds

    def doubtful(info: os.stat_result) -> bool:
        return info.st_ino in quiet or (info.st_ino in written and info.st_ctime_ns < since)

    return doubtful


@dataclass(frozen=True, slots=True)
class _Stored:
    """What restic did; bytes. `snapshot` is None when there was nothing for it to store."""

    snapshot: str | None
    read: int = 0
    uploaded: int = 0
    failed: tuple[tuple[bytes, str], ...] = ()


def _store_base(
    session: Session, header: Header, tree: SnapshotTree, found: Survey, choice: Choice
) -> _Stored:
    """Let restic store the tree, unless a broken-off run got that far or there is nothing it could store."""
    if not found.carried:
        return _Stored(None)
    if choice.finished_base is not None and _still_there(session, choice.finished_base):
        return _Stored(choice.finished_base)
    summary = _restic(session, header, tree, found, choice)
    if not summary.failed:
        session.catalog.journal.base_done(header.dataset, summary.snapshot_id)
    return _Stored(summary.snapshot_id, summary.bytes_read, summary.bytes_added_packed, tuple(summary.failed))


def _still_there(session: Session, base: str) -> bool:
    """Tell whether a prune on another host has neither deleted a base nor is going to."""
    condemned = any(base in each.bases for each in read_condemned(session.store.data))
    return not condemned and base in {each.id for each in session.restic.snapshots()}


def _restic(
    session: Session, header: Header, tree: SnapshotTree, found: Survey, choice: Choice
) -> BackupSummary:
    patterns = exclude_patterns(tree.root, [*found.excluded, *found.left_to_us])
    with session.staging() as folder, session.progress("base", found.size) as bar:
        excluded = folder / "excluded"
        with staging(excluded):
            excluded.write_bytes(b"".join(pattern + b"\n" for pattern in patterns))
        return session.restic.backup(
            tree.descriptor, parent=choice.parent_base, tags=["zdiffsync", f"dataset={header.dataset}"],
            host=header.host, time=datetime.fromtimestamp(header.created_ns / 1e9, UTC),
            exclude_file=excluded if patterns else None, progress=bar, stall=_STALL,
            reread=choice.reread,
        )  # fmt: skip
