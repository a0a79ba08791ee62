"""From two snapshots to a change set: the certificate, `zfs diff` and reconcile, one after the other.

First half of an increment; a base asks, too, what happened since the last point (backup.tripwire).
Rule: works from the two snapshots and the catalog's view of the last point; the base is never listed.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from zdiffsync.backup.certificate import certify
from zdiffsync.backup.changes import ChangeSet
from zdiffsync.backup.excludes import Excludes
from zdiffsync.backup.feed import stream_is_quicker
from zdiffsync.backup.reconcile import Reconciler
from zdiffsync.backup.session import Session
from zdiffsync.backup.stopwatch import Stopwatch
from zdiffsync.catalog.catalog import Point
from zdiffsync.catalog.holders import ContentKey
from zdiffsync.external import zfs
from zdiffsync.external.tree import Identity, SnapshotTree
from zdiffsync.external.zfs_diff import Diff, diff
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


def detect(
    session: Session, step: Step, trees: tuple[SnapshotTree, SnapshotTree], watch: Stopwatch
) -> ChangeSet:
    """Return all that changed between the two snapshots; `watch` is told how long each part took."""
    with watch.stage("certificate"), session.progress("send stream", unit="objects"):
        certificate, problem = certify(step.old.name, step.new.name)
    old_created_ns = step.old.created * 10**9
    nights = [night.stats for night in session.catalog.points_of(step.last.dataset_guid, step.last.host)]
    found: Diff | None = None
    if certificate is None or not stream_is_quicker(certificate, nights, old_created_ns):
        with watch.stage("zfs diff"), session.progress("zfs diff", unit="rows"):
            found = diff(step.old.name, step.new.name, zfs.mountpoint(step.new.dataset))
    ledger = {Identity(*key): names for key, names in session.catalog.ledger(step.last).items()}
    reconciler = Reconciler(
        *trees, excludes=step.excludes, ledger=ledger, old_txg=step.old.createtxg,
        old_created_ns=old_created_ns,
        retry=[
            *map(bytes.fromhex, step.last.stats.get("skipped_paths", ())), *_lost_paths(session, step),
        ],
    )  # fmt: skip
    with watch.stage("reconcile"), session.progress("comparing", unit="names"):
        return reconciler.run(found, certificate, uncertified_because=problem)


def _lost_paths(session: Session, step: Step) -> list[bytes]:
    """Return where the last point has files whose bytes are lost: they are stored again as if new."""
    chain, sequence = step.last.chain_id, step.last.sequence
    with session.catalog.holders() as holders:
        lost = {ContentKey(chain, number): None for number in holders.lost_in(chain)}
        objects = {use.object for use in holders.uses(lost) if use.since <= sequence < use.until}
    with session.catalog.view(step.last) as view:
        return [path for number in objects for path in view.paths(view.node(number))]
