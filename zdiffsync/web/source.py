"""Where the pages get what they show.

Under every page. Rule: reads only; points that come or go while the server runs are seen by the next page.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from time import time_ns

from zdiffsync.bases.bases import Bases
from zdiffsync.catalog.catalog import Catalog, Point
from zdiffsync.errors import UsageError
from zdiffsync.maintain.status import Status
from zdiffsync.restore.contents import FetchBlob
from zdiffsync.restore.local import LocalSnapshots


@dataclass(slots=True)
class _Known:
    stamp: tuple[int, int] | None = None
    points: Sequence[Point] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """The catalog, what reads contents, and how the backups are doing. Thread-safe.

    `local` (None: not wanted) knows the snapshots of this machine; `look` asks how all is at a time (ns).
    """

    catalog: Catalog
    bases: Bases
    fetch: FetchBlob
    local: LocalSnapshots | None
    remote: str
    look: Callable[[int], Status]
    _known: _Known = field(default_factory=_Known)
    _lock: Lock = field(default_factory=Lock)

    def points(self, dataset: str | None = None) -> Sequence[Point]:
        """Return all points, or those of a dataset, oldest first. Raises CatalogError."""
        stamp = self.catalog.stamp()
        with self._lock:
            if stamp != self._known.stamp:
                self._known.points, self._known.stamp = self.catalog.points(), stamp
            points = self._known.points
        return points if dataset is None else [point for point in points if point.dataset == dataset]

    def datasets(self) -> dict[str, list[Point]]:
        """Return the points of each dataset, oldest first, by name."""
        found: dict[str, list[Point]] = {}
        for point in self.points():
            found.setdefault(point.dataset, []).append(point)
        return dict(sorted(found.items()))

    def status(self) -> Status:
        """Return how the backups are doing now. Raises CatalogError."""
        return self.look(time_ns())

    def of_dataset(self, dataset: str) -> Sequence[Point]:
        """Return the points of a dataset, oldest first. Raises UsageError when there are none."""
        found = self.points(dataset)
        if not found:
            raise UsageError(f"there are no points of {dataset!r}")
        return found

    def point(self, key: str) -> Point:
        """Return a point by its whole id. Raises UsageError when there is none."""
        for point in self.points():
            if point.key == key:
                return point
        raise UsageError(f"there is no point {key!r}; it may have been forgotten")
