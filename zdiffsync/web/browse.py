"""A directory of a point. Rule: lists what is asked for and nothing below it."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from flask import render_template
from flask.typing import ResponseReturnValue

from zdiffsync.catalog.catalog import Point
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.restore.walk import Walk
from zdiffsync.web.links import argument, path_argument
from zdiffsync.web.paging import Page
from zdiffsync.web.source import Source

_AT_ONCE = 1000  # entries


@dataclass(frozen=True, slots=True)
class Crumb:
    """A directory above."""

    name: bytes
    path: bytes


def page(source: Source) -> ResponseReturnValue:
    """Show it; of anything but a directory its versions are shown elsewhere."""
    point, path = source.point(argument("point")), path_argument()
    with walking(source, point) as walk:
        top = walk.find(path)
        found = walk.children(top) if top is not None and top.entry.type is EntryType.DIRECTORY else []
    found.sort(key=lambda item: (item.entry.type is not EntryType.DIRECTORY, item.name.lower(), item.name))
    older, newer = neighbours(source.of_dataset(point.dataset), point)
    return render_template(
        "browse.html", point=point, path=path, top=top, crumbs=crumbs(path), older=older, newer=newer,
        entries=Page.of(found, argument("page"), _AT_ONCE),
    ), 200 if top is not None else 404  # fmt: skip


@contextmanager
def walking(source: Source, point: Point) -> Iterator[Walk]:
    """Open the tree of a point."""
    with source.catalog.view(point) as view:
        yield Walk(view, source.bases, point)


def crumbs(path: bytes) -> list[Crumb]:
    """Return the parts of a path, each with the path that leads there."""
    parts = path.split(b"/") if path else []
    return [Crumb(name, b"/".join(parts[: number + 1])) for number, name in enumerate(parts)]


def neighbours(points: Sequence[Point], point: Point) -> tuple[Point | None, Point | None]:
    """Return the points of a dataset before and after one of them."""
    at = points.index(point)
    return points[at - 1] if at else None, points[at + 1] if at + 1 < len(points) else None


def permissions(entry: Entry) -> str:
    """Return type and mode as `ls -l` does."""
    return stat.filemode(entry.type.format_bits | entry.mode)


def device(entry: Entry) -> str:
    """Return the numbers of a device."""
    return f"{os.major(entry.rdev)}, {os.minor(entry.rdev)}"
