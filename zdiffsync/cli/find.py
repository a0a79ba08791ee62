"""`zdiffsync find`: files by name, size, time and type over all points, the deleted ones among them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import click

from zdiffsync.catalog.catalog import Point
from zdiffsync.cli import complete
from zdiffsync.cli.context import App, pass_app
from zdiffsync.cli.opening import Reading
from zdiffsync.cli.text import emit_list, local, plural, short_keys, shown, size
from zdiffsync.config.units import parse_size
from zdiffsync.errors import UsageError
from zdiffsync.model.entry import EntryType
from zdiffsync.restore.locate import Location, locate
from zdiffsync.restore.moments import moment
from zdiffsync.restore.search import Match, Query, named, search
from zdiffsync.restore.spans import Span, SpanTree


@click.command()
@click.argument("pattern", required=False)
@click.option("--name", metavar="GLOB", help="The name fits this, whatever directory it is in.")
@click.option("-i", "--ignore-case", is_flag=True, help="Take small and capital letters for the same.")
@click.option(
    "--size", "sizes", metavar="[+-]SIZE", multiple=True, help="More (+) or less (-) than 10M, 1k, …"
)
@click.option("--changed-since", metavar="WHEN", help="The file's own time is not before this.")
@click.option(
    "--type", "types", type=click.Choice([kind.value for kind in EntryType]), multiple=True,
    help="A letter as in find(1): f file, d directory, l symlink, …",
)  # fmt: skip
@click.option(
    "--in", "within", metavar="POINT[:PATH]", shell_complete=complete.locations,
    help="Search this point, or a directory of it, only.",
)  # fmt: skip
@click.option("--dataset", shell_complete=complete.datasets, help="Search the points of this dataset only.")
@pass_app
def find(
    app: App,
    pattern: str | None,
    *,
    name: str | None,
    ignore_case: bool,
    sizes: tuple[str, ...],
    changed_since: str | None,
    types: tuple[str, ...],
    within: str | None,
    dataset: str | None,
) -> None:
    """Find files in all restore points, deleted ones too.

    PATTERN is a glob for the name; with a slash in it, for the whole path.
    """
    tests = [named(each, ignore_case=ignore_case) for each in (pattern,) if each is not None]
    tests += [named(name.rpartition("/")[2], ignore_case=ignore_case)] if name is not None else []
    smallest, largest = _bounds(sizes)
    query = Query(
        (lambda path: all(test(path) for test in tests)) if tests else None,
        frozenset(map(EntryType, types)) or None, smallest, largest,
        None if changed_since is None else int(moment(changed_since).timestamp() * 10**9),
    )  # fmt: skip
    with app.reading() as reading:
        points = reading.catalog.points()
        where = None if within is None else locate(points, within)
        datasets = _datasets(points, where, dataset)
        keys = short_keys(points)
        found = (each for one in datasets for each in _found(reading, points, one, where, query))
        if app.json:
            emit_list("matches", (_values(match, of) for match, of in found))
            return
        if not _print(app, found, keys):
            app.say("nothing found")


def _datasets(points: Sequence[Point], where: Location | None, dataset: str | None) -> list[str]:
    if not points:
        raise UsageError("there are no restore points yet; make one with zdiffsync run")
    if where is not None:
        return [where.point.dataset]
    datasets = sorted({point.dataset for point in points})
    if dataset is not None and dataset not in datasets:
        raise UsageError(f"there are no points of {dataset!r}; there are of {', '.join(datasets)}")
    return datasets if dataset is None else [dataset]


def _found(
    reading: Reading, points: Sequence[Point], dataset: str, where: Location | None, query: Query
) -> Iterator[tuple[Match, list[Point]]]:
    """Yield what fits, each with the points that its runs count."""
    with reading.catalog.rows() as rows:
        tree = SpanTree(rows, reading.bases, [point for point in points if point.dataset == dataset])
        top, path = tree.root(), b""
        if where is not None:
            chain = next(each for each in tree.chains if where.point in each.points)
            sequence = where.point.sequence
            moment_only = Span(chain.index, sequence, sequence + 1)
            top = tree.resolve(where.path, [replace(tree.root_of(chain), spans=(moment_only,))])
            path = where.path
        for match in search(tree, top, path, query):
            yield match, tree.points


def _print(app: App, found: Iterator[tuple[Match, list[Point]]], keys: dict[str, str]) -> int:
    count = 0
    for match, points in found:
        if not count:
            app.show(f"{'SIZE':>10}  {'VERSIONS':>8}  {'FROM':<19}  {'TO':<19}  POINT:PATH")
        count += 1
        first, last = match.runs[0][0], match.runs[-1][1]
        until = "latest" if last == len(points) - 1 else local(points[last].created_ns)
        length = size(match.entry.size) if match.entry.type is EntryType.FILE else "-"
        slash = "/" if match.entry.type is EntryType.DIRECTORY else ""
        app.show(
            f"{length:>10}  {match.versions:>8,}  {local(points[first].created_ns):<19}  {until:<19}  "
            f"{keys[points[last].key]}:{shown(match.path)}{slash}"
        )
    if count:
        app.say(plural(count, "path"))
    return count


def _bounds(sizes: Sequence[str]) -> tuple[int | None, int | None]:
    """Return the smallest and largest size in bytes that fit. Raises UsageError."""
    smallest: int | None = None
    largest: int | None = None
    for text in sizes:
        try:
            count = parse_size(text.lstrip("+-"))
        except ValueError as error:
            raise UsageError(f"{text!r} is no size; write it like +10M, -1k or 4096") from error
        if not text.startswith("-"):
            low = count + 1 if text.startswith("+") else count
            smallest = low if smallest is None else max(low, smallest)
        if not text.startswith("+"):
            high = count - 1 if text.startswith("-") else count
            largest = high if largest is None else min(high, largest)
    return smallest, largest


def _values(match: Match, points: Sequence[Point]) -> dict[str, Any]:
    entry = match.entry
    return {
        "dataset": points[0].dataset, "path": os.fsdecode(match.path), "type": entry.type.value,
        "size": entry.size, "mtime_ns": entry.mtime_ns, "versions": match.versions,
        "points": [point.key for first, last in match.runs for point in points[first : last + 1]],
    }  # fmt: skip
