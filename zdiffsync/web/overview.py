"""The first page: every dataset at a glance, as `zdiffsync status` sees it.

Rule: never asks the remote, so it is there at once.
"""

from dataclasses import dataclass

from flask import render_template
from flask.typing import ResponseReturnValue

from zdiffsync.catalog.catalog import Point
from zdiffsync.maintain.status import DatasetStatus
from zdiffsync.web.nights import Chart, Night, chart, nights, uploaded_by
from zdiffsync.web.source import Source

_SPARKS = 30  # days


@dataclass(frozen=True, slots=True)
class Summary:
    """One dataset. `points` oldest first, sizes in bytes."""

    name: str
    points: list[Point]
    nights: list[Night]

    @property
    def last(self) -> Point:
        """The newest point."""
        return self.points[-1]

    @property
    def hosts(self) -> int:
        """How many machines made them: datasets of several may have one name."""
        return len({point.host for point in self.points})

    @property
    def increments(self) -> int:
        """The increments of the newest chain: how many points build on the last base."""
        return self.last.sequence

    @property
    def files(self) -> int | None:
        """Regular files in the newest point, None where nobody counted."""
        return self.last.stats.get("files_total")

    @property
    def bytes(self) -> int | None:
        """Bytes of the files in the last base, None where nobody counted."""
        return next(
            (point.stats["bytes_total"] for point in reversed(self.points) if point.stats.get("bytes_total")),
            None,
        )

    @property
    def uploaded(self) -> int:
        """Bytes that all points together put on the remote."""
        return sum(map(uploaded_by, self.points))

    @property
    def chart(self) -> Chart:
        """The last nights."""
        return chart(self.nights, _SPARKS)


def summary(name: str, points: list[Point]) -> Summary:
    """Return what is known of a dataset by its points (oldest first, at least one)."""
    return Summary(name, points, nights(points))


@dataclass(frozen=True, slots=True)
class Card:
    """One dataset: how it is doing (None: it is not backed up any more), and its points (None: none)."""

    name: str
    status: DatasetStatus | None
    summary: Summary | None

    @property
    def is_well(self) -> bool:
        """Whether nobody need look."""
        return self.status is None or self.status.is_well


def page(source: Source) -> ResponseReturnValue:
    """Show it: what needs a look first."""
    status = source.status()
    found, known = source.datasets(), {each.dataset: each for each in status.datasets}
    cards = [
        Card(name, known.get(name), summary(name, found[name]) if name in found else None)
        for name in sorted({*found, *known})
    ]
    cards.sort(key=lambda card: (card.is_well, card.status is None))
    return render_template("overview.html", status=status, cards=cards)
