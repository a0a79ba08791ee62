"""A dataset: bytes by night, the calendar of its points, and their list. Rule: from the catalog alone."""

from dataclasses import dataclass

from flask import render_template
from flask.typing import ResponseReturnValue

from zdiffsync.catalog.catalog import Point
from zdiffsync.model.text import plural, size
from zdiffsync.web.links import argument
from zdiffsync.web.nights import calendar, chart
from zdiffsync.web.overview import summary
from zdiffsync.web.paging import Page
from zdiffsync.web.source import Source

_SPANS = {"30": 30, "90": 90, "365": 365}  # days
_AT_ONCE = 100  # points in the list
_WEEKS = 53


@dataclass(frozen=True, slots=True)
class Row:
    """A point in the list, and the one before it to be compared with (None: it is the first)."""

    point: Point
    before: Point | None

    @property
    def changes(self) -> str:
        """What it holds that the one before did not, in numbers."""
        stats = self.point.stats
        if self.point.sequence == 0:
            return f"{plural(stats.get('files_total') or 0, 'file')}, {size(stats.get('bytes_total') or 0)}"
        created, modified, metadata_only, removed = (
            stats.get(figure, 0) for figure in ("created", "modified", "metadata_only", "names_removed")
        )
        return f"+{created:,} ~{modified + metadata_only:,} \N{MINUS SIGN}{removed:,}"


def page(source: Source) -> ResponseReturnValue:
    """Show it."""
    name = argument("name")
    found = summary(name, list(source.of_dataset(name)))
    days = _SPANS.get(argument("days"), 30)
    rows = [Row(point, before) for point, before in zip(found.points, [None, *found.points], strict=False)]
    status = next((each for each in source.status().datasets if each.dataset == name), None)
    return render_template(
        "dataset.html", dataset=found, status=status, days=days, spans=_SPANS.values(),
        chart=chart(found.nights, days), calendar=calendar(found.nights, _WEEKS),
        rows=Page.of(rows[::-1], argument("page"), _AT_ONCE),
    )  # fmt: skip
