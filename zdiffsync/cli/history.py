"""`zdiffsync history`: every version of a path."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import click

from zdiffsync.catalog.catalog import Point
from zdiffsync.cli import complete
from zdiffsync.cli.context import App, pass_app
from zdiffsync.cli.ls import values
from zdiffsync.cli.text import local, short_keys, size
from zdiffsync.errors import UsageError
from zdiffsync.model.entry import EntryType
from zdiffsync.restore.history import Departure, FileVersion, TimeLine
from zdiffsync.restore.locate import locate, of_dataset
from zdiffsync.restore.wording import changed, departed


@click.command()
@click.argument("location", metavar="PATH", shell_complete=complete.paths_ever)
@pass_app
def history(app: App, location: str) -> None:
    """Show every version of PATH: since when, its size, what changed.

    Where there are several datasets write DATASET:PATH, or POINT:PATH.
    """
    with app.reading() as reading:
        points = reading.catalog.points()
        dataset, path = _path(points, location)
        told = TimeLine(reading.catalog, reading.bases, dataset).history(path)
    if not told:
        raise UsageError(f"no point of {dataset} ever had {os.fsdecode(path)!r}; try zdiffsync find")
    app.emit({"dataset": dataset, "path": os.fsdecode(path), "events": [_values(item) for item in told]})
    of_this = [point for point in points if point.dataset == dataset]
    for line in _table(told, path, of_this[-1], short_keys(points)):
        app.show(line)


def _path(points: Sequence[Point], text: str) -> tuple[str, bytes]:
    """Return dataset and path of what a person typed. Raises UsageError."""
    if ":" in text and not any(text.startswith(f"{point.dataset}:") for point in points):
        try:
            where = locate(points, text)
        except UsageError:
            if len({point.dataset for point in points}) > 1:
                raise
        else:
            return where.point.dataset, where.path
    return of_dataset(points, text)


def _table(
    told: Sequence[FileVersion | Departure], path: bytes, latest: Point, keys: Mapping[str, str]
) -> list[str]:
    rows = [("POINT", "FROM", "TO", "SIZE", "CHANGE")]
    rows += [_row(item, path, latest, keys) for item in told]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        f"{key:<{widths[0]}}  {since:<{widths[1]}}  {until:<{widths[2]}}  {length:>{widths[3]}}  {change}"
        for key, since, until, length, change in rows
    ]


def _row(
    item: FileVersion | Departure, path: bytes, latest: Point, keys: Mapping[str, str]
) -> tuple[str, str, str, str, str]:
    if isinstance(item, Departure):
        return "", local(item.point.created_ns), "", "", departed(item)
    first, last = item.points[0], item.points[-1]
    until = "latest" if last.key == latest.key else local(last.created_ns)
    length = size(item.entry.size) if item.entry.type is EntryType.FILE else "-"
    return keys[last.key], local(first.created_ns), until, length, changed(item, path)


def _values(item: FileVersion | Departure) -> dict[str, Any]:
    if isinstance(item, Departure):
        return {
            "event": "departure", "path": os.fsdecode(item.path), "point": item.point.key,
            "to": None if item.target is None else os.fsdecode(item.target),
        }  # fmt: skip
    return {
        "event": "version", **values(item.found), "changes": item.changes,
        "from": None if item.origin is None else os.fsdecode(item.origin),
        "points": [point.key for point in item.points],
    }  # fmt: skip
