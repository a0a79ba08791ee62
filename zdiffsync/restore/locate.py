"""Finding the point and path that a person named.

`latest`, an id prefix, or `DATASET@WHEN`; then optionally `:PATH` inside the dataset. Or DATASET:PATH as
of a time.
Rule: an ambiguous or unknown name is an error that lists what would have fitted.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from zdiffsync.catalog.catalog import Point
from zdiffsync.errors import UsageError
from zdiffsync.restore.moments import moment, shown_time

_SHOWN = 5
_NONE_YET = "there are no restore points yet; make one with zdiffsync run"
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?"
    r"(?:Z|[+-][0-9]{2}:[0-9]{2})?(?=:|$)"
    r"|(?:[^:]*\s)?[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?(?: ?[AaPp][Mm])?(?=:|$)"
)


@dataclass(frozen=True, slots=True)
class Location:
    """A point and a path in it, relative to the dataset's root (b'' is the root itself).

    `moment` is the time by which the point was named, None when it was named otherwise.
    """

    point: Point
    path: bytes
    moment: datetime | None = field(default=None, compare=False)


def locate(points: Sequence[Point], text: str) -> Location:
    """Find `POINT` or `POINT:PATH` among all `points` (oldest first). Raises UsageError."""
    name, path = split(points, text)
    point, when = _find(points, name)
    return Location(point, normalize(path), when)


def as_of(points: Sequence[Point], text: str, when: str) -> Location:
    """Find `DATASET:PATH` (or only one of them) in the last point not younger than `when`. Raises UsageError.

    Where there is one dataset only it need not be named.
    """
    dataset, path = of_dataset(points, text)
    point, found = _at(points, dataset, when)
    return Location(point, path, found)


def of_dataset(points: Sequence[Point], text: str) -> tuple[str, bytes]:
    """Return dataset and path of `DATASET:PATH`, `DATASET` or, where there is one only, `PATH`.

    Raises UsageError.
    """
    datasets = sorted({point.dataset for point in points}, key=len, reverse=True)
    if not datasets:
        raise UsageError(_NONE_YET)
    for dataset in datasets:
        if text == dataset or text.startswith(dataset + ":"):
            return dataset, normalize(text[len(dataset) + 1 :])
    if len(datasets) > 1:
        shown = ", ".join(f"{dataset}:{text}" for dataset in sorted(datasets)[:_SHOWN])
        raise UsageError(f"{text!r} of which dataset? name one: {shown}")
    return datasets[0], normalize(text)


def split(points: Sequence[Point], text: str) -> tuple[str, str]:
    """Part POINT:PATH; the colons in a time, or in a dataset's name, part nothing."""
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
    return _find(points, name)[0]


def _find(points: Sequence[Point], name: str) -> tuple[Point, datetime | None]:
    if not points:
        raise UsageError(_NONE_YET)
    if name == "latest":
        return _latest(points), None
    dataset, at, when = name.partition("@")
    if at:
        return _at(points, dataset, when)
    found = [point for point in points if name and point.key.startswith(name)]
    if len(found) == 1:
        return found[0], None
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


def _at(points: Sequence[Point], dataset: str, when: str) -> tuple[Point, datetime | None]:
    of_dataset = [point for point in points if point.dataset == dataset]
    if not of_dataset:
        datasets = sorted({point.dataset for point in points})
        raise UsageError(f"there are no points of {dataset!r}; there are of {', '.join(datasets)}")
    if when == "latest":
        return of_dataset[-1], None
    for point in of_dataset:
        if point.snapshot.partition("@")[2] == when:
            return point, None
    found = moment(when, upto_ns=of_dataset[-1].created_ns)
    until = int(found.timestamp() * 10**9)
    before = [point for point in of_dataset if point.created_ns <= until]
    if not before:
        raise UsageError(
            f"{dataset} has no point as old as {shown_time(found)}; see zdiffsync points {dataset}"
        )
    return before[-1], found
