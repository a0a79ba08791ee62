"""Every version of a path over all points. Rule: what `zdiffsync history` shows, newest first."""

from dataclasses import dataclass

from flask import render_template
from flask.typing import ResponseReturnValue

from zdiffsync.catalog.catalog import Point
from zdiffsync.model.entry import EntryType
from zdiffsync.restore.history import Departure, FileVersion, TimeLine
from zdiffsync.restore.wording import changed, departed
from zdiffsync.web.browse import crumbs
from zdiffsync.web.links import argument, path_argument
from zdiffsync.web.source import Source


@dataclass(frozen=True, slots=True)
class Event:
    """A version, or (`version` None) that it was gone: from `first` on, up to `last`."""

    version: FileVersion | None
    what: str
    first: Point
    last: Point

    @property
    def is_file(self) -> bool:
        """Whether it can be downloaded."""
        return self.version is not None and self.version.entry.type is EntryType.FILE


def page(source: Source) -> ResponseReturnValue:
    """Show them."""
    dataset, path = argument("dataset"), path_argument()
    points = source.of_dataset(dataset)
    told = TimeLine(source.catalog, source.bases, dataset).history(path)
    return render_template(
        "versions.html", dataset=dataset, path=path, crumbs=crumbs(path), latest=points[-1],
        events=[_event(item, path) for item in reversed(told)],
    ), 200 if told else 404  # fmt: skip


def _event(item: FileVersion | Departure, path: bytes) -> Event:
    if isinstance(item, Departure):
        return Event(None, departed(item), item.point, item.point)
    return Event(item, changed(item, path), item.points[0], item.points[-1])
