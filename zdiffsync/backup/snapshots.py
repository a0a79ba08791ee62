"""The snapshots a run works from: its own or another tool's, held while needed, marked once backed up.

First and last step of the nightly flow.
Rule: the snapshot of every last point is held under a tag of this repository's own, since another may hold
the same one; only what this repository took is ever destroyed.
"""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from zdiffsync.backup.session import Session
from zdiffsync.catalog.catalog import Point
from zdiffsync.errors import ZfsError
from zdiffsync.external import zfs

_FORMER_TAG = "zdiffsync"  # of all repositories, and never on a snapshot another tool took
_SHORT = 8


def hold_tag(repository: str) -> str:
    """Return the tag under which a repository holds snapshots."""
    return f"zdiffsync:{repository[:_SHORT]}"


def last_points(points: Sequence[Point]) -> dict[int, Point]:
    """Return the points the next runs build on, by the guids of their datasets; `points` oldest first."""
    chains = {point.dataset_guid: point.chain for point in points}
    current = (point for point in points if point.chain == chains[point.dataset_guid])
    return {point.dataset_guid: point for point in sorted(current, key=lambda point: point.sequence)}


class Snapshots:
    """The snapshots of one repository's datasets; what could not be let go or marked is put in `problems`."""

    def __init__(self, session: Session, problems: dict[str, str]) -> None:
        self._session, self._problems = session, problems
        self._tag = hold_tag(session.repository)

    def take(self, datasets: Sequence[zfs.Dataset]) -> list[tuple[zfs.Dataset, zfs.Snapshot]]:
        """Snapshot all at one instant and hold them. Raises ZfsError."""
        if not datasets:
            return []
        label = f"zdiffsync-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        zfs.take_snapshots([dataset.name for dataset in datasets], label, owner=self._session.repository)
        taken = []
        for dataset in datasets:
            snapshot = next(snap for snap in zfs.snapshots(dataset.name) if snap.label == label)
            zfs.hold(self._tag, snapshot.name)
            taken.append((dataset, snapshot))
        return taken

    def newest(self, dataset: zfs.Dataset, patterns: Sequence[str]) -> zfs.Snapshot | None:
        """Return the newest snapshot whose label fits one of the globs, None when none does."""
        fitting = (
            snapshot
            for snapshot in zfs.snapshots(dataset.name)
            if any(fnmatchcase(snapshot.label, pattern) for pattern in patterns)
        )
        return max(fitting, key=lambda snapshot: snapshot.createtxg, default=None)

    def hold(self, snapshot: zfs.Snapshot) -> None:
        """Keep a snapshot from being destroyed. Raises ZfsError."""
        zfs.hold(self._tag, snapshot.name)

    def forgo(self, dataset: zfs.Dataset, snapshot: zfs.Snapshot) -> None:
        """Let go of a snapshot that no point was made of. Raises ZfsError."""
        if snapshot.guid not in self._needed(dataset, [snapshot]):
            self._let_go(snapshot, {self._tag})

    def tidy(self, dataset: zfs.Dataset) -> None:
        """Mark what is backed up, and let go of what neither a last point nor an unfinished run needs.

        What `zfs promote` has moved from this dataset to its clone is let go there.
        """
        there = list((zfs.lineage if dataset.origin else zfs.snapshots)(dataset.name))
        made = self._session.catalog.points_at(snapshot.guid for snapshot in there)
        points = {point.guid: point for point in made}
        present = [
            snapshot for snapshot in there if snapshot.dataset == dataset.name or snapshot.guid in points
        ]
        needed = self._needed(dataset, present)
        spare = [snapshot.name for snapshot in present if snapshot.holds and snapshot.guid not in needed]
        held = zfs.holds(spare)
        for snapshot in present:
            try:
                self._mark(snapshot, points.get(snapshot.guid))
                if snapshot.guid not in needed:
                    self._let_go(snapshot, held.get(snapshot.name, set()))
            except ZfsError as error:
                self._problems[snapshot.name] = str(error)

    def _let_go(self, snapshot: zfs.Snapshot, tags: set[str]) -> None:
        own = snapshot.owner == self._session.repository
        for tag in tags & ({self._tag, _FORMER_TAG} if own else {self._tag}):
            zfs.release(tag, snapshot.name)
        if own:
            zfs.destroy(snapshot, owner=self._session.repository)

    def _needed(self, dataset: zfs.Dataset, present: Sequence[zfs.Snapshot]) -> set[int]:
        """Return the guids of the snapshots that have to stay.

        After `zfs promote` the last point's snapshot of one dataset is among those of another. It is needed
        for as long as its dataset is there.
        """
        catalog, host = self._session.catalog, self._session.host
        guids = {snapshot.guid for snapshot in present}
        last: dict[int, int] = {}
        for owner in {point.dataset_guid for point in catalog.points_at(guids) if point.host == host}:
            point = last_points(catalog.points_of(owner, host))[owner]
            if point.guid in guids:
                last[point.guid] = owner
        there = {dataset.guid}
        if set(last.values()) - there:
            pool = dataset.name.partition("/")[0]
            there |= {each.guid for each in zfs.datasets(pool, recursive=True)}
        needed = {guid for guid, owner in last.items() if owner in there}
        return needed | self._session.catalog.journal.snapshots()

    def _mark(self, snapshot: zfs.Snapshot, point: Point | None) -> None:
        """Let a snapshot say which point of this repository has its state, beside what others say there."""
        marks = [mark for mark in snapshot.safe.split(",") if mark]
        others = [mark for mark in marks if not mark.startswith(f"{self._session.repository[:_SHORT]}:")]
        wanted = others if point is None else [*others, f"{self._session.repository[:_SHORT]}:{point.key}"]
        if sorted(wanted) == sorted(marks):
            return
        if wanted:
            zfs.set_property(snapshot.name, zfs.SAFE_PROPERTY, ",".join(wanted))
        else:
            zfs.clear_property(snapshot.name, zfs.SAFE_PROPERTY)
