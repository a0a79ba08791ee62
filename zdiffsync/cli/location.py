"""POINT:PATH on the command line, the same for every command that looks at points.

Rule: where a point was named by a time, the time that was understood and the point it led to are told.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import click

from zdiffsync.catalog.catalog import Point
from zdiffsync.cli.context import App
from zdiffsync.cli.text import local
from zdiffsync.errors import CatalogError, UsageError
from zdiffsync.restore.locate import Location, as_of, find_point, locate
from zdiffsync.restore.moments import shown_time

_Found = TypeVar("_Found")
_ID = re.compile(r"[0-9a-f]+")
as_of_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--as-of", "when", metavar="WHEN", help="The last point not younger than this; then name DATASET:PATH."
)


def located(app: App, points: Sequence[Point], text: str, when: str | None) -> Location:
    """Find POINT[:PATH], or DATASET:PATH as of `when`; tells which point a time led to. Raises UsageError."""
    where = anywhere(
        app, points, text, lambda known: locate(known, text) if when is None else as_of(known, text, when)
    )
    if where.moment is not None and not (app.json or app.quiet):
        point = where.point
        click.echo(
            f"as of {shown_time(where.moment)}: point {point.key} of {local(point.created_ns)}", err=True
        )
    return where


def point_named(app: App, points: Sequence[Point], name: str) -> Point:
    """Find one point. Raises UsageError."""
    return anywhere(app, points, name, lambda known: find_point(known, name))


def anywhere(
    app: App, points: Sequence[Point], text: str, find: Callable[[Sequence[Point]], _Found]
) -> _Found:
    """Return what `find` finds for `text` among the `points`.

    Where another host has a dataset of the same name as this one, its points go by their ids only. If nothing
    is found the UsageError says which other remote has it; of those only the catalogs are asked.
    """
    host = app.config.host  # read once: it is a file
    ours = {point.dataset for point in points if point.host == host}
    try:
        return find([point for point in points if point.host == host or point.dataset not in ours])
    except UsageError as error:
        if _ID.fullmatch(text.partition(":")[0]):
            with suppress(UsageError):
                return find(points)
        if (name := _other_with(app, find)) is None:
            raise
        raise UsageError(f"{error}; remote {name} has it: zdiffsync --repo {name} …") from error


def _other_with(app: App, find: Callable[[Sequence[Point]], object]) -> str | None:
    for other in app.others:
        if other.catalog_path.exists():  # opening it would make one
            with suppress(UsageError, CatalogError), other.catalog() as catalog:
                find(catalog.points())
                return other.repo
    return None
