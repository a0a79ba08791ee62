"""An increment: what changed between the snapshot of the last point and a new one.

Rule: works from the two snapshots and the catalog's view of the last point; the base is never listed.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from zdiffsync.backup.certificate import certify
from zdiffsync.backup.changes import ChangeSet
from zdiffsync.backup.commit import Outcome, PointCommit
from zdiffsync.backup.contents import ContentStats
from zdiffsync.backup.excludes import Excludes
from zdiffsync.backup.point import PointStats
from zdiffsync.backup.reconcile import Reconciler
from zdiffsync.backup.report import PointReport, point_report
from zdiffsync.backup.session import Session
from zdiffsync.backup.stopwatch import Stopwatch
from zdiffsync.catalog.catalog import Point
from zdiffsync.catalog.view import PointView
from zdiffsync.external import zfs
from zdiffsync.external.tree import Identity, SnapshotTree
from zdiffsync.external.zfs_diff import diff
from zdiffsync.format.manifest import Header


@dataclass(frozen=True, slots=True)
class Step:
    """From the last point, whose snapshot is `old`, to the new point of snapshot `new`."""

    header: Header
    last: Point
    old: zfs.Snapshot
    new: zfs.Snapshot
    excludes: Excludes

    @contextmanager
    def trees(self) -> Iterator[tuple[SnapshotTree, SnapshotTree]]:
        """Open both snapshots. Raises ZfsError."""
        with ExitStack() as stack:
            old, new = (
                stack.enter_context(SnapshotTree(zfs.snapshot_directory(each.dataset, each.label)))
                for each in (self.old, self.new)
            )
            yield old, new


def make_increment(session: Session, step: Step) -> PointReport:
    """Detect, store and commit one increment. Raises ZfsError, RemoteError; nothing is committed then."""
    watch = Stopwatch()
    with step.trees() as (old, new), session.catalog.view(step.last) as view:
        changes = _detect(session, step, (old, new), watch)
        commit = PointCommit(
            session, step.header, old=old, new=new, view=view, base_path=_BasePaths(view),
            last_numbers=session.catalog.last_numbers(step.last),
        )  # fmt: skip

        def report(outcome: Outcome) -> PointReport:
            seconds = watch.seconds | {"store": outcome.seconds}
            return point_report(step.header, changes.detection, outcome, seconds)

        return report(commit.commit(changes, lambda outcome: report(outcome).as_stats()))


def preview_increment(session: Session, step: Step) -> PointReport:
    """Detect what an increment would hold; stores nothing and compares no contents."""
    watch = Stopwatch()
    with step.trees() as trees:
        changes = _detect(session, step, trees, watch)
    point = PointStats(
        created=sum(change.old_path is None for change in changes.objects),
        modified=sum(change.old_path is not None for change in changes.objects),
        names_added=sum(change.child is not None for change in changes.names),
        names_removed=sum(change.child is None for change in changes.names),
    )
    return point_report(step.header, changes.detection, Outcome(point, ContentStats(), 0, 0.0), watch.seconds)


def _detect(
    session: Session, step: Step, trees: tuple[SnapshotTree, SnapshotTree], watch: Stopwatch
) -> ChangeSet:
    with watch.stage("zfs diff"), session.progress("zfs diff", unit="rows"):
        found = diff(step.old.name, step.new.name, zfs.mountpoint(step.new.dataset))
    with watch.stage("certificate"), session.progress("send stream", unit="objects"):
        certificate, problem = certify(step.old.name, step.new.name)
    ledger = {Identity(*key): names for key, names in session.catalog.ledger(step.last).items()}
    reconciler = Reconciler(
        *trees, excludes=step.excludes, ledger=ledger, old_txg=step.old.createtxg,
        old_created_ns=step.old.created * 10**9,
        retry=[bytes.fromhex(path) for path in step.last.stats["skipped_paths"]],
    )  # fmt: skip
    with watch.stage("reconcile"), session.progress("comparing", unit="names"):
        return reconciler.run(found, certificate, uncertified_because=problem)


class _BasePaths:
    """Finds the base path of an object from its path at the last point."""

    def __init__(self, view: PointView) -> None:
        self._view = view

    def __call__(self, identity: Identity, old_path: bytes | None) -> bytes | None:
        del identity
        node = self._view.resolve(old_path) if old_path is not None else None
        return None if node is None or node.object is not None else node.base_path
