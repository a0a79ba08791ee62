"""POINT:PATH on the command line, the same for every command that looks at points.

Rule: where a point was named by a time, the time that was understood and the point it led to are told.
"""

from collections.abc import Callable, Sequence
from typing import Any

import click

from zdiffsync.catalog.catalog import Point
from zdiffsync.cli.context import App
from zdiffsync.cli.text import local
from zdiffsync.restore.locate import Location, as_of, locate
from zdiffsync.restore.moments import shown_time

as_of_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--as-of", "when", metavar="WHEN", help="The last point not younger than this; then name DATASET:PATH."
)


def located(app: App, points: Sequence[Point], text: str, when: str | None) -> Location:
    """Find POINT[:PATH], or DATASET:PATH as of `when`; tells which point a time led to. Raises UsageError."""
    where = locate(points, text) if when is None else as_of(points, text, when)
    if where.moment is not None and not (app.json or app.quiet):
        point = where.point
        click.echo(
            f"as of {shown_time(where.moment)}: point {point.key} of {local(point.created_ns)}", err=True
        )
    return where
