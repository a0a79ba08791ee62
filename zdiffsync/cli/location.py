"""POINT:PATH on the command line, the same for every command that looks at points.

Rule: where a point was named by a time, the time that was understood and the point it led to are told.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import click

from zdiffsync.catalog.catalog import Point
from zdiffsync.cli.context import App
from zdiffsync.cli.text import local
from zdiffsync.errors import CatalogError, UsageError
from zdiffsync.restore.locate import Location, as_of, locate
from zdiffsync.restore.moments import shown_time

_Found = TypeVar("_Found")
as_of_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--as-of", "when", metavar="WHEN", help="The last point not younger than this; then name DATASET:PATH."
)


def located(app: App, points: Sequence[Point], text: str, when: str | None) -> Location:
    """Find POINT[:PATH], or DATASET:PATH as of `when`; tells which point a time led to. Raises UsageError."""
    where = anywhere(
        app, points, lambda known: locate(known, text) if when is None else as_of(known, text, when)
    )
    if where.moment is not None and not (app.json or app.quiet):
        point = where.point
        click.echo(
            f"as of {shown_time(where.moment)}: point {point.key} of {local(point.created_ns)}", err=True
        )
    return where


def anywhere(app: App, points: Sequence[Point], find: Callable[[Sequence[Point]], _Found]) -> _Found:
    """Return what `find` finds among the `points`; if nothing, its UsageError says which other remote has it.

    Of the others only the catalogs are asked.
    """
    try:
        return find(points)
    except UsageError as error:
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
