"""What was uploaded night by night, as bars and as a calendar: geometry for the SVG templates.

Rule: a base may be a thousand times a night, so it never sets the scale: what is higher than that is cut off,
marked, and written out.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from time import time_ns

from zdiffsync.catalog.catalog import Point
from zdiffsync.model.text import size
from zdiffsync.web.times import day, day_of

WIDTH, HEIGHT = 960, 250  # of the chart, in units of its own
_LEFT, _RIGHT, _TOP, _BOTTOM = 4, 80, 26, 26
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 250, 500)
_LINES = 4  # horizontal lines at most
_WIDEST = 34.0  # a bar
_LABEL = 64.0  # room for a date on the axis
_LEVELS = 4


@dataclass(frozen=True, slots=True)
class Night:
    """The points of one local day, the last of which `point` is; `uploaded` bytes by all of them."""

    day: date
    point: Point
    count: int
    uploaded: int
    has_base: bool

    @property
    def label(self) -> str:
        """What a reader wants to know of it."""
        kind = "base" if self.has_base else "increment"
        what = (
            kind
            if self.count == 1
            else f"{self.count} points, {'a base among them' if self.has_base else ''}"
        )
        return f"{day(self.day)}\n{size(self.uploaded)} uploaded\n{what.removesuffix(', ')}"


def nights(points: Sequence[Point]) -> list[Night]:
    """Return the points by local days, oldest first."""
    found: dict[date, Night] = {}
    for point in points:
        when, uploaded = day_of(point.created_ns), uploaded_by(point)
        before = found.get(when)
        found[when] = Night(
            when, point, 1 + (before.count if before else 0), uploaded + (before.uploaded if before else 0),
            point.sequence == 0 or (before is not None and before.has_base),
        )  # fmt: skip
    return [found[when] for when in sorted(found)]


def uploaded_by(point: Point) -> int:
    """Return the bytes a point put on the remote, its manifest aside."""
    return point.stats.get("uploaded_bytes", 0)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Bar:
    """One night: where its bar stands. `cut`: it is higher than the chart."""

    night: Night
    x: float
    y: float
    width: float
    height: float
    cut: bool

    @property
    def middle(self) -> float:
        """Where its label is centred."""
        return self.x + self.width / 2


@dataclass(frozen=True, slots=True)
class Mark:
    """A label on an axis, at a place along it."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars, lines across at `rows`, and dates at `columns`; all in units of WIDTH and HEIGHT."""

    bars: tuple[Bar, ...]
    rows: tuple[Mark, ...]
    columns: tuple[Mark, ...]
    left: float = _LEFT
    right: float = WIDTH - _RIGHT
    top: float = _TOP
    floor: float = HEIGHT - _BOTTOM


def last_day(found: Sequence[Night], days: int) -> date:
    """Return the day on which `days` days of nights end: today, or the last night if it is longer ago."""
    today = max(found[-1].day, day_of(time_ns()))
    return today if (today - found[-1].day).days < days else found[-1].day


def chart(found: Sequence[Night], days: int) -> Chart:
    """Return the chart of the last `days` days of nights, of which there is one at least."""
    first = last_day(found, days) - timedelta(days - 1)
    within = [night for night in found if night.day >= first]
    usual = [night.uploaded for night in within if not night.has_base]
    step = _step(max(usual, default=0) or max(night.uploaded for night in within))
    top = step * max(1, -(-max(usual, default=step) // step))
    slot = (WIDTH - _LEFT - _RIGHT) / days
    floor, height = HEIGHT - _BOTTOM, HEIGHT - _BOTTOM - _TOP
    width = min(slot * 0.72, _WIDEST)
    bars = []
    for night in within:
        tall = max(min(night.uploaded / top, 1.0) * height, 1.5 if night.uploaded else 0.0)
        x = _LEFT + slot * ((night.day - first).days + 0.5) - width / 2
        bars.append(Bar(night, x, floor - tall, width, tall, night.uploaded > top))
    rows = [Mark(floor - height * step * row / top, size(step * row)) for row in range(top // step + 1)]
    return Chart(tuple(bars), tuple(rows), tuple(_dates(first, days, slot)))


def _step(most: int) -> int:
    """Return a round number of bytes that goes into `most` at most _LINES times."""
    unit = 1
    while True:
        for step in _STEPS:
            if most <= step * unit * _LINES:
                return step * unit
        unit *= 1024


def _dates(first: date, days: int, slot: float) -> Iterator[Mark]:
    every = max(1, -(-int(_LABEL) // max(1, int(slot))))
    for number in range(days - 1, -1, -every):
        when = first + timedelta(number)
        yield Mark(_LEFT + slot * (number + 0.5), f"{when.day} {when:%b}")


@dataclass(frozen=True, slots=True)
class Cell:
    """One day of the calendar, in the week `column` and on the weekday `row` (Monday 0).

    `level` 1 to 4 tells how much was uploaded in comparison, 0 that there is no point.
    """

    column: int
    row: int
    day: date
    night: Night | None
    level: int

    @property
    def label(self) -> str:
        """What a reader wants to know of it."""
        return self.night.label if self.night else f"{day(self.day)}\nno point"


@dataclass(frozen=True, slots=True)
class Calendar:
    """Weeks side by side; `months` are named above the week they begin in."""

    cells: tuple[Cell, ...]
    months: tuple[Mark, ...]


def calendar(found: Sequence[Night], weeks: int) -> Calendar:
    """Return the last `weeks` weeks of nights, of which there is one at least."""
    last = last_day(found, 7 * weeks)
    monday = last - timedelta(last.weekday() + 7 * (weeks - 1))
    by_day = {night.day: night for night in found}
    usual = sorted(night.uploaded for night in found if not night.has_base)
    cells = []
    for number in range((last - monday).days + 1):
        when = monday + timedelta(number)
        night = by_day.get(when)
        cells.append(Cell(number // 7, number % 7, when, night, _level(night, usual)))
    months = [
        Mark(number // 7, f"{when:%b}")
        for number in range(0, 7 * weeks, 7)
        if (when := monday + timedelta(number)).day <= 7  # noqa: PLR2004 - its first week
    ]
    return Calendar(tuple(cells), tuple(months))


def _level(night: Night | None, usual: Sequence[int]) -> int:
    if night is None:
        return 0
    less = bisect_left(usual, night.uploaded)
    return 1 + min(_LEVELS - 1, _LEVELS * less // max(1, len(usual)))
