"""How the backups of all hosts on one remote are doing, as far as their points tell.

Behind `status --all-hosts`; the catalog has been brought up to the remote before. Rule: the points alone
decide, so no host need be asked.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from zdiffsync.backup.snapshots import last_points
from zdiffsync.catalog.catalog import Catalog, Point
from zdiffsync.maintain.status import State, by_age, packed_by_chain, packed_of


@dataclass(frozen=True, slots=True)
class HostDataset:
    """A dataset of a host: how old its newest point is, how many there are, the bytes of their packs."""

    host: str
    dataset: str
    state: State
    why: str | None
    last: Point
    points: int
    packed: int


def look_at_hosts(catalog: Catalog, now_ns: int, stale_after: timedelta) -> list[HostDataset]:
    """Return the datasets of all hosts, by host and name."""
    packed = packed_by_chain(catalog.packs())
    groups: dict[tuple[str, int], list[Point]] = {}
    for point in catalog.points():
        groups.setdefault((point.host, point.dataset_guid), []).append(point)
    found = [_dataset(host, points, packed, now_ns, stale_after) for (host, _), points in groups.items()]
    return sorted(found, key=lambda each: (each.host, each.dataset))


def _dataset(
    host: str, points: Sequence[Point], packed: Counter[int], now_ns: int, stale_after: timedelta
) -> HostDataset:
    [last] = last_points(points).values()
    state, why = by_age(last, now_ns, stale_after)
    return HostDataset(host, last.dataset, state, why, last, len(points), packed_of(points, packed))
