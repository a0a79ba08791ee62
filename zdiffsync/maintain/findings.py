"""What check finds: one thing that is wrong, and the files and points that suffer from it.

Between the steps of check and the command line. Rule: however much is damaged, a finding names a few
files and counts the others.
"""

import os
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from zdiffsync.catalog.catalog import Catalog, Point
from zdiffsync.catalog.holders import ContentKey, Holders, Use
from zdiffsync.catalog.timeline import ENDLESS
from zdiffsync.errors import ExitCode

_NAMED = 10  # files a finding


@dataclass(frozen=True, slots=True)
class AffectedFile:
    """A file that cannot be had at points from `first` to `last`, by key; its path at the last."""

    dataset: str
    path: bytes
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class Affected:
    """How many files (objects of a chain) suffer, at which points, by key; some of them by name."""

    files: int
    points: tuple[str, ...]
    named: tuple[AffectedFile, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `name` is the remote's object, or the file, that `what` is said of.

    `pack` is its id where it is a pack. `points` are those it is about as a whole, by key; `contents`
    those that it takes bytes from, `affected` who needs them.
    """

    name: str
    what: str
    pack: str | None = None
    points: tuple[str, ...] = ()
    contents: frozenset[ContentKey] = frozenset()
    affected: Affected | None = None


@dataclass(slots=True)
class CheckReport:
    """What check did. Sizes in bytes. `notes` are things to know that are no damage."""

    points: int = 0
    packs: int = 0
    pack_bytes: int = 0
    bases: int = 0
    packs_read: int = 0
    bytes_read: int = 0
    bases_read: str | None = None
    files_compared: int = 0
    bytes_compared: int = 0
    files_restored: int = 0
    bytes_restored: int = 0
    restored_point: str | None = None
    restore_seconds: float = 0.0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> ExitCode:
        """Return 90 when anything is wrong."""
        return ExitCode.INTEGRITY if self.findings else ExitCode.DONE


def attributed(catalog: Catalog, findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings with the files that need their contents."""
    concerned = [finding for finding in findings if finding.contents]
    if not concerned:
        return list(findings)
    points: dict[int, list[Point]] = {}
    for point in catalog.points():
        points.setdefault(point.chain_id, []).append(point)
    for chain in points.values():
        chain.sort(key=lambda point: point.sequence)
    tallies = {id(finding): _Tally(points) for finding in concerned}
    with catalog.holders() as holders:
        whose: dict[ContentKey, list[_Tally]] = {}
        for finding in concerned:
            for content in holders.with_dependents(finding.contents):
                whose.setdefault(content, []).append(tallies[id(finding)])
        for use in holders.uses(whose):
            for tally in whose[use.content]:
                tally.add(use)
    return [
        replace(finding, affected=tallies[id(finding)].affected(catalog)) if finding.contents else finding
        for finding in findings
    ]


def pack_findings(catalog: Catalog, packs: Iterable[tuple[str, str, str]]) -> list[Finding]:
    """Return a finding for each damaged pack: (id, the object's name, what is wrong with it)."""
    found = []
    with catalog.holders() as holders:
        found += [_of_pack(holders, pack, name, what) for pack, name, what in packs]
    return attributed(catalog, found)


def _of_pack(holders: Holders, pack: str, name: str, what: str) -> Finding:
    return Finding(name, what, pack=pack, contents=frozenset(holders.within(pack)))


class _Tally:
    """Gathers who suffers from one finding; `points` are those of each chain in order."""

    def __init__(self, points: dict[int, list[Point]]) -> None:
        self._points = points
        self._spans: dict[tuple[int, int], list[tuple[int, int]]] = {}  # of an object: first and last point
        self._endless: set[tuple[int, int]] = set()

    def add(self, use: Use) -> None:
        """Count one use of a content."""
        chain = self._points.get(use.content.chain, [])
        first = bisect_left(chain, use.since, key=lambda point: point.sequence)
        last = bisect_left(chain, use.until, key=lambda point: point.sequence) - 1
        if first <= last:
            thing = (use.content.chain, use.object)
            self._spans.setdefault(thing, []).append((first, last))
            if use.until == ENDLESS:
                self._endless.add(thing)

    def affected(self, catalog: Catalog) -> Affected:
        """Return all that was added."""
        masks: dict[int, int] = {}  # a bit a point of the chain
        named: list[AffectedFile] = []
        for (chain, number), spans in self._spans.items():
            points = self._points[chain]
            first, last = min(spans)[0], max(span[1] for span in spans)
            if (chain, number) in self._endless:
                last = _last_with(catalog, points, number, first, last)
            for start, end in spans:
                if start <= last:
                    masks[chain] = masks.get(chain, 0) | ((1 << (min(end, last) - start + 1)) - 1) << start
            if len(named) < _NAMED and last >= first:
                path = _path(catalog, points[last], number)
                if path is not None:
                    named.append(
                        AffectedFile(points[last].dataset, path, points[first].key, points[last].key)
                    )
        keys = [
            point.key
            for chain, mask in masks.items()
            for number, point in enumerate(self._points[chain])
            if mask >> number & 1
        ]
        return Affected(len(self._spans), tuple(keys), tuple(named))


def _last_with(catalog: Catalog, points: Sequence[Point], number: int, first: int, last: int) -> int:
    """Return the last point that still has an object which is there at `first`.

    A version holds until the next: that an object was removed stands at its names, and what was removed
    does not come back.
    """
    if _path(catalog, points[last], number) is not None:
        return last
    gone = bisect_left(range(first, last), True, key=lambda at: _path(catalog, points[at], number) is None)
    return first + gone - 1


def _path(catalog: Catalog, point: Point, number: int) -> bytes | None:
    with catalog.view(point) as view:
        return next(iter(view.paths(view.node(number))), None)


def file_name(dataset: str, path: bytes) -> str:
    """Return how a file is called in findings; bytes that are no UTF-8 as in the JSON output."""
    return f"{dataset}:{os.fsdecode(path)}"
