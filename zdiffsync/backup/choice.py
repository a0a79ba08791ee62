"""Base or increment: what the next point of a dataset has to be, and why.

Rule: an increment only where the last point's own snapshot is still there, by its guid, under whatever name;
the reason for a base always stands in the report.
"""

import secrets
from dataclasses import dataclass, replace
from datetime import timedelta

from zdiffsync.backup.excludes import Excludes
from zdiffsync.backup.session import Session
from zdiffsync.catalog.catalog import Point
from zdiffsync.catalog.journal import UnfinishedRun
from zdiffsync.errors import ZfsError
from zdiffsync.external import zfs


@dataclass(frozen=True, slots=True)
class Choice:
    """Where the next point goes. `parent` is the snapshot to compare with, None for a base.

    `last` is the last point of the dataset, or for its first one that of a dataset it shares a snapshot with.
    `finished_base` is the restic snapshot that a broken-off run had already finished; `reread`: the new base
    must read all files, since the one before may lack some.
    """

    chain: str
    sequence: int
    last: Point | None
    parent: zfs.Snapshot | None
    reason: str | None
    finished_base: str | None = None
    reread: bool = False

    @property
    def parent_base(self) -> str | None:
        """The restic snapshot that a new base can take unchanged files from."""
        return self.last.restic if self.last else None

    def resumes(self, run: UnfinishedRun) -> bool:
        """Whether this continues exactly what `run` had begun."""
        parent = self.parent.guid if self.parent else None
        return (self.chain, self.sequence, parent) == (run.chain, run.sequence, run.parent_guid)


def choose(
    session: Session,
    dataset: zfs.Dataset,
    last: Point | None,
    excludes: Excludes,
    *,
    now_ns: int,
    force: bool,
) -> Choice:
    """Decide on the point after `last`; `now_ns` is the new snapshot's time."""
    if last is None:
        return _first(session, dataset)
    reason = _reason_for_base(session, last, excludes, now_ns, force=force)
    if reason is None:
        return _increment(dataset.name, last)
    return replace(_base(last, reason), reread=_is_distrusted(session, last))


def _first(session: Session, dataset: zfs.Dataset) -> Choice:
    """Begin with a dataset. What it shares with another spares reading files: one received, or a clone."""
    points = [point for point in session.catalog.points() if point.host == session.host]
    there = {snapshot.guid for snapshot in zfs.lineage(dataset.name)}
    kin = next((point for point in reversed(points) if point.guid in there), None)
    reason = "first point of this dataset"
    if kin is not None:
        reason += f", which shares snapshot {kin.snapshot.partition('@')[2]} with {kin.dataset}"
    elif any(point.dataset == dataset.name for point in points):
        reason += ", which is another than the one that had its name before"
    return replace(_base(kin, reason), reread=_is_distrusted(session, kin))


def choose_again(dataset: str, last: Point | None, run: UnfinishedRun) -> Choice:
    """Decide as the broken-off `run` had decided, so far as that is still possible."""
    if run.parent_guid is None:
        return Choice(run.chain, 0, last, None, "resumed", run.restic)
    return _base(None, "nothing to resume") if last is None else _increment(dataset, last)


def _base(last: Point | None, reason: str) -> Choice:
    return Choice(secrets.token_hex(8), 0, last, None, reason)


def _increment(dataset: str, last: Point) -> Choice:
    parent = zfs.find_snapshot(dataset, last.guid)
    if parent is None:
        gone = "is gone: destroyed, or rolled back past"
        return _base(last, f"snapshot {last.snapshot} of the last point {gone}")
    if parent.dataset == dataset:
        return Choice(last.chain, last.sequence + 1, last, parent, None)
    now = f"after zfs promote the last point's snapshot is {parent.name}"
    try:
        zfs.mountpoint(parent.dataset)
    except ZfsError as error:
        return _base(last, f"{now}, and {error}")
    return Choice(last.chain, last.sequence + 1, last, parent, now)


def _reason_for_base(
    session: Session, last: Point, excludes: Excludes, now_ns: int, *, force: bool
) -> str | None:
    if force:
        return "asked for"
    if last.excludes != excludes.digest:
        return "the exclude patterns have changed"
    if _is_distrusted(session, last):
        return "the base was found damaged"
    settings = session.settings
    made = session.catalog.points_of(last.dataset_guid, last.host)
    oldest = next(point for point in made if point.chain == last.chain and point.first == 0)
    age = timedelta(microseconds=(now_ns - last.base_ns) / 1000)
    if age >= settings.base_every:
        return f"the base is {age.days} days old"
    limit = increments_limit(oldest, settings.base_when_increments_exceed, settings.pack_size)
    if session.catalog.packed_bytes(last) > limit:
        return f"increments exceed {settings.base_when_increments_exceed:.0%} of the base"
    return None


def increments_limit(first: Point, share: float, pack_size: int) -> float:
    """Return how many bytes of packs a chain may have before it is followed by another.

    `first` is its first point, `share` that of the base's size. A chain smaller than one pack is never worth
    starting anew.
    """
    return max(share * (first.stats.get("bytes_total") or 0), pack_size)


def _is_distrusted(session: Session, last: Point | None) -> bool:
    return last is not None and last.base_ns < session.settings.bases_from_ns
