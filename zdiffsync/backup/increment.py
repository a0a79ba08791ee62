"""An increment: what changed between the snapshot of the last point and a new one.

Rule: works from the two snapshots and the catalog's view of the last point; the base is never listed.
"""

from zdiffsync.backup.changes import ChangeSet
from zdiffsync.backup.commit import Outcome, PointCommit
from zdiffsync.backup.contents import ContentStats
from zdiffsync.backup.excludes import Excludes
from zdiffsync.backup.point import PointStats
from zdiffsync.backup.reconcile import Reconciler
from zdiffsync.backup.report import PointReport, point_report
from zdiffsync.backup.session import Session
from zdiffsync.backup.stopwatch import Stopwatch
from zdiffsync.external.tree import Identity, SnapshotTree
from zdiffsync.catalog.catalog import Point
from zdiffsync.catalog.view import PointView
from zdiffsync.errors import IntegrityError, ToolError
from zdiffsync.external import zfs
from zdiffsync.external.zfs_diff import diff
from zdiffsync.external.zfs_send import incremental_stream
from zdiffsync.format.manifest import Header
from zdiffsync.format.send_stream import StreamObject, read_objects


def detect(
    session: Session, last: Point, old: zfs.Snapshot, new: zfs.Snapshot, trees: tuple[SnapshotTree, SnapshotTree],
    excludes: Excludes, watch: Stopwatch,
) -> ChangeSet:  # fmt: skip
    """Find all changes from snapshot `old` to `new`. Raises OSError, ZfsError."""
    with watch.stage("zfs diff"), session.progress("zfs diff", unit="rows"):
        found = diff(old.name, new.name, zfs.mountpoint(new.dataset))
    with watch.stage("certificate"):
        stream, problem = _certificate(old.name, new.name)
    ledger = {Identity(*key): names for key, names in session.catalog.ledger(last).items()}
    reconciler = Reconciler(
        *trees, excludes=excludes, ledger=ledger, old_txg=old.createtxg,
        old_created_ns=old.created * 10**9,
        retry=[bytes.fromhex(path) for path in last.stats.get("skipped_paths", ())],
    )  # fmt: skip
    with watch.stage("reconcile"), session.progress("comparing", unit="names"):
        return reconciler.run(found, stream, uncertified_because=problem)


def _certificate(old: str, new: str) -> tuple[list[StreamObject] | None, str | None]:
    try:
        with incremental_stream(old, new) as stream:
            return list(read_objects(stream)), None
    except (ToolError, IntegrityError) as error:
        return None, str(error)


def make_increment(
    session: Session, header: Header, last: Point, old: zfs.Snapshot, new: zfs.Snapshot, excludes: Excludes
) -> PointReport:
    """Detect, store and commit one increment; returns its report."""
    watch = Stopwatch()
    old_directory = zfs.snapshot_directory(old.dataset, old.label)
    new_directory = zfs.snapshot_directory(new.dataset, new.label)
    with (
        SnapshotTree(old_directory) as old_tree,
        SnapshotTree(new_directory) as new_tree,
        session.catalog.view(last) as view,
    ):
        changes = detect(session, last, old, new, (old_tree, new_tree), excludes, watch)
        commit = PointCommit(
            session, header, old=old_tree, new=new_tree, view=view,
            base_path=_BasePaths(view), last_numbers=session.catalog.last_numbers(last),
        )  # fmt: skip

        def report(outcome: Outcome) -> PointReport:
            seconds = watch.seconds | {"store": outcome.seconds}
            return point_report(header, changes.detection, outcome, seconds)

        return report(commit.commit(changes, lambda outcome: report(outcome).as_stats()))


def preview_increment(
    session: Session, header: Header, last: Point, old: zfs.Snapshot, new: zfs.Snapshot, excludes: Excludes
) -> PointReport:
    """Detect what an increment would hold; stores nothing. Contents are not compared."""
    watch = Stopwatch()
    with (
        SnapshotTree(zfs.snapshot_directory(old.dataset, old.label)) as old_tree,
        SnapshotTree(zfs.snapshot_directory(new.dataset, new.label)) as new_tree,
    ):
        changes = detect(session, last, old, new, (old_tree, new_tree), excludes, watch)
    point = PointStats(
        created=sum(change.old_path is None for change in changes.objects),
        modified=sum(change.old_path is not None for change in changes.objects),
        names_added=sum(change.child is not None for change in changes.names),
        names_removed=sum(change.child is None for change in changes.names),
    )
    return point_report(header, changes.detection, Outcome(point, ContentStats(), 0, 0.0), watch.seconds)


class _BasePaths:
    """Finds the base path of an object from its path at the last point."""

    def __init__(self, view: PointView) -> None:
        self._view = view

    def __call__(self, identity: Identity, old_path: bytes | None) -> bytes | None:
        del identity
        node = self._view.resolve(old_path) if old_path is not None else None
        return None if node is None or node.object is not None else node.base_path
