"""Finding the point and path that a person named.

`latest`, an id prefix, or `DATASET@WHEN`; then optionally `:PATH` inside the dataset.
Rule: an ambiguous or unknown name is an error that lists what would have fitted.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from zdiffsync.catalog.catalog import Point
from zdiffsync.errors import UsageError

_SHOWN = 5
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?"
    r"(?:Z|[+-][0-9]{2}:[0-9]{2})?(?=:|$)"
)


@dataclass(frozen=True, slots=True)
class Location:
    """A point and a path in it, relative to the dataset's root (b'' is the root itself)."""

    point: Point
    path: bytes


def locate(points: Sequence[Point], text: str) -> Location:
    """Find `POINT` or `POINT:PATH` among all `points` (oldest first). Raises UsageError."""
    name, path = _split(points, text)
    return Location(find_point(points, name), normalize(path))


def _split(points: Sequence[Point], text: str) -> tuple[str, str]:
    """Part point and path; the colons in a time, or in a dataset's name, part nothing."""
    dataset, at, rest = text.partition("@")
    if not at or all(point.dataset != dataset for point in points):
        name, _, path = text.partition(":")
        return name, path
    time = _TIME.match(rest)
    when = time[0] if time else rest.partition(":")[0]
    return dataset + at + when, rest[len(when) + 1 :]


def normalize(path: str) -> bytes:
    """Return a path as the catalog has it: no leading, trailing or double slash. Raises UsageError."""
    parts = [part for part in os.fsencode(path).split(b"/") if part not in {b"", b"."}]
    if b".." in parts:
        raise UsageError(f"{path!r} leads out of the dataset; name a path below its root")
    return b"/".join(parts)


def find_point(points: Sequence[Point], name: str) -> Point:
    """Find one point. Raises UsageError."""
    if not points:
        raise UsageError("there are no restore points yet; make one with zdiffsync run")
    if name == "latest":
        return _latest(points)
    dataset, at, when = name.partition("@")
    if at:
        return _at(points, dataset, when)
    found = [point for point in points if name and point.key.startswith(name)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"there is no point {name!r}; see zdiffsync points")
    shown = ", ".join(point.key for point in found[:_SHOWN])
    raise UsageError(f"point {name!r} is ambiguous: {shown}")


def _latest(points: Sequence[Point]) -> Point:
    datasets = sorted({point.dataset for point in points})
    if len(datasets) > 1:
        raise UsageError(
            f"'latest' of which dataset? name one of {', '.join(f'{d}@latest' for d in datasets)}"
        )
    return points[-1]


def _at(points: Sequence[Point], dataset: str, when: str) -> Point:
    of_dataset = [point for point in points if point.dataset == dataset]
    if not of_dataset:
        datasets = sorted({point.dataset for point in points})
        raise UsageError(f"there are no points of {dataset!r}; there are of {', '.join(datasets)}")
    if when == "latest":
        return of_dataset[-1]
    for point in of_dataset:
        if point.snapshot.partition("@")[2] == when:
            return point
    try:
        moment = datetime.fromisoformat(when).astimezone()
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{when!r} is no time; write it like '{dataset}@2026-11-23 18:00', or '{dataset}@latest'"
        ) from error
    until = moment.timestamp() * 10**9
    before = [point for point in of_dataset if point.created_ns <= until]
    if not before:
        raise UsageError(f"{dataset} has no point as old as {when}; see zdiffsync points {dataset}")
    return before[-1]
