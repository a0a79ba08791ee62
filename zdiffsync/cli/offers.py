"""What the shell offers behind Tab: points, paths in them, datasets.

Behind cli.complete. Rule: offering something never prints, fails or writes; names that are no printable text
are not offered.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from zdiffsync.catalog.catalog import Point
from zdiffsync.cli.context import make_app
from zdiffsync.cli.opening import Reading
from zdiffsync.cli.text import local, short_keys
from zdiffsync.model.entry import EntryType
from zdiffsync.restore.locate import as_of, find_point, normalize, of_dataset, split
from zdiffsync.restore.walk import Walk

_Items = Iterator[CompletionItem[str]]
_Offer = Callable[[Reading, Sequence[Point], dict[str, Any], str], _Items]
_Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]


def _complete(offer: _Offer) -> _Complete:
    """Turn a generator of offers into what click asks, given the points of the configured catalog."""

    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        try:
            given = context.find_root().params
            app = make_app(
                given.get("config"), given.get("repo"), json_output=True, verbosity=0, no_progress=True
            )
            if not app.catalog_path.exists():
                return []  # opening it would make one
            with app.catalog() as catalog:
                points = catalog.points()
            if not points:
                return []
            with app.reading() as reading:
                return [
                    item
                    for item in offer(reading, points, context.params, incomplete)
                    if item.value.startswith(incomplete)
                ]
        except Exception:  # noqa: BLE001 - who is typing is not to be disturbed by what does not work
            return []

    return complete


@_complete
def points(_: Reading, points: Sequence[Point], __: dict[str, Any], ___: str) -> _Items:
    """Offer POINT."""
    return _points(points)


@_complete
def locations(reading: Reading, points: Sequence[Point], given: dict[str, Any], text: str) -> _Items:
    """Offer POINT[:PATH]; DATASET:PATH or PATH where --as-of was given before."""
    return _locations(reading, points, given, text)


@_complete
def locations_then_paths(
    reading: Reading, points: Sequence[Point], given: dict[str, Any], text: str
) -> _Items:
    """Offer POINT[:PATH] first, then PATH in the point of the first, or POINT:PATH again."""
    before = given.get("locations") or ()
    if before and given.get("when") is None and ":" not in text:
        yield from _paths(reading, find_point(points, split(points, before[0])[0]), text, text)
    else:
        yield from _locations(reading, points, given, text)


@_complete
def paths_ever(reading: Reading, points: Sequence[Point], _: dict[str, Any], text: str) -> _Items:
    """Offer PATH, DATASET:PATH or POINT:PATH, in the last point there is."""
    datasets = _names(points)
    if ":" not in text:
        yield from (CompletionItem(f"{name}:") for name in datasets if len(datasets) > 1)
        if len(datasets) == 1:
            yield from _paths(reading, points[-1], text, text)
    elif any(text.startswith(f"{name}:") for name in datasets):
        yield from _as_of(reading, points, text, "latest")
    else:
        yield from _in_point(reading, points, text)


@_complete
def paths_of_second(reading: Reading, points: Sequence[Point], given: dict[str, Any], text: str) -> _Items:
    """Offer PATH in the point that the command's second argument names."""
    return _paths(reading, find_point(points, given["new"]), text, text)


@_complete
def datasets(_: Reading, points: Sequence[Point], __: dict[str, Any], ___: str) -> _Items:
    """Offer the datasets that have points."""
    yield from map(CompletionItem, _names(points))


def _names(points: Sequence[Point]) -> list[str]:
    return sorted({point.dataset for point in points})


def _points(points: Sequence[Point]) -> _Items:
    names = _names(points)
    for name in names:
        last = next(point for point in reversed(points) if point.dataset == name)
        yield CompletionItem("latest" if len(names) == 1 else f"{name}@latest", help=_told(last, names))
    keys = short_keys(points)
    for point in reversed(points):
        yield CompletionItem(keys[point.key], help=_told(point, names))


def _told(point: Point, names: Sequence[str]) -> str:
    when = f"{local(point.created_ns)}, {point.kind}"
    return when if len(names) == 1 else f"{point.dataset}, {when}"


def _locations(reading: Reading, points: Sequence[Point], given: dict[str, Any], text: str) -> _Items:
    when = given.get("when")
    if when is not None:
        return _as_of(reading, points, text, when)
    return _in_point(reading, points, text) if ":" in text else _points(points)


def _as_of(reading: Reading, points: Sequence[Point], text: str, when: str) -> _Items:
    names = _names(points)
    if len(names) > 1 and not any(text.startswith(f"{name}:") for name in names):
        yield from (CompletionItem(f"{name}:") for name in names)
        return
    dataset, _ = of_dataset(points, text)
    path = text.removeprefix(f"{dataset}:")
    yield from _paths(reading, as_of(points, f"{dataset}:", when).point, text, path)


def _in_point(reading: Reading, points: Sequence[Point], text: str) -> _Items:
    name, path = split(points, text)
    return _paths(reading, find_point(points, name), text, path)


def _paths(reading: Reading, point: Point, text: str, path: str) -> _Items:
    """Offer what `path`, the end of `text`, may become: names in the directory it has reached."""
    folder, slash, start = path.rpartition("/")
    stem = text[: len(text) - len(start)]
    with reading.catalog.view(point) as view:
        walk = Walk(view, reading.bases, point)
        top = walk.find(normalize(folder + slash))
        for found in [] if top is None else walk.children(top):
            name = os.fsdecode(found.name)
            if name.isprintable():
                is_folder = found.entry.type is EntryType.DIRECTORY
                yield CompletionItem(f"{stem}{name}/" if is_folder else stem + name)
