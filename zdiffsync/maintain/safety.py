"""Whether a ZFS snapshot may go: whether its state is a point that the remote still has, whole.

For `safe-to-destroy`, which tools ask that prune snapshots. Rule: safe is only what was found to be; whatever
is not known is a reason against it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from zdiffsync.backup.snapshots import hold_tag, last_points
from zdiffsync.catalog.catalog import Catalog, Pack, Point
from zdiffsync.catalog.holders import ContentKey
from zdiffsync.external import zfs
from zdiffsync.maintain.memory import CheckMemory
from zdiffsync.model.text import local, plural
from zdiffsync.store.remote import ReadableArea


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether destroying `snapshot` loses nothing that `point` does not bring back.

    `needed`: the next run builds on it. `reason` says why it is not safe, or what it is needed for.
    """

    snapshot: str
    safe: bool
    needed: bool = False
    point: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Safety:
    """What is known of one repository; `memory` is what checks of it have found."""

    repository: str
    host: str
    catalog: Catalog
    area: ReadableArea
    memory: CheckMemory

    def judge(self, name: str) -> Verdict:
        """Judge the snapshot of this name. Raises ZfsError, also when there is none, and RemoteError."""
        snapshot = zfs.snapshot(name)
        points = self.catalog.points_at([snapshot.guid])
        if not points:
            return Verdict(name, safe=False, reason="no point has its state")
        why = ""
        for point in reversed(points):
            why = next(self._against(point), "")
            if not why:
                needed = self._is_needed(snapshot)
                reason = "the next run builds on it, and without it makes a new base" if needed else None
                return Verdict(name, safe=True, needed=needed, point=point.key, reason=reason)
        return Verdict(name, safe=False, point=points[0].key, reason=why)

    def _against(self, point: Point) -> Iterator[str]:
        """Yield why a point does not stand for its snapshot; the remote is asked last."""
        what = f"point {point.key} of {local(point.created_ns)}"
        if skipped := len(point.stats.get("skipped", ())):
            yield f"{what} lacks {plural(skipped, 'file')} that could not be read"
        if point.base_ns < self.memory.distrusted_ns or self.memory.base_packs:
            yield f"the base of {what} was found damaged"
        if any(pack.chain_id == point.chain_id for pack in self._damaged()):
            yield f"packs of {what} were found damaged, and zdiffsync repair may need the snapshot"
        if lost := self._lost(point):
            yield f"{plural(lost, 'file')} of {what} cannot be restored any more"
        if self.area.size(str(point.manifest)) is None:
            yield f"the manifest of {what} is not on the remote; run zdiffsync check"

    def _damaged(self) -> list[Pack]:
        found = self.memory.damaged
        return [pack for pack in self.catalog.packs() if pack.key in found] if found else []

    def _lost(self, point: Point) -> int:
        with self.catalog.holders() as holders:
            lost = {ContentKey(point.chain_id, number): None for number in holders.lost_in(point.chain_id)}
            return sum(use.since <= point.sequence < use.until for use in holders.uses(lost))

    def _is_needed(self, snapshot: zfs.Snapshot) -> bool:
        if hold_tag(self.repository) in zfs.holds([snapshot.name])[snapshot.name]:
            return True
        [dataset] = zfs.datasets(snapshot.dataset, recursive=False)
        last = last_points(self.catalog.points_of(dataset.guid, self.host)).get(dataset.guid)
        return last is not None and last.guid == snapshot.guid
