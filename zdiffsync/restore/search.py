"""Searching all points at once for files by name, size, time and type.

Behind `find`. Rule: each directory is listed once however many points hold it, so a file that was
deleted long ago is found at the price of one that is there.
"""

import fnmatch
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.restore.compare import ContentLookup, differences
from zdiffsync.restore.spans import Place, SpanTree, State


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for; None stands for anything.

    `name` is asked with a path (bytes), everything else about an entry: `smallest` and `largest` in bytes
    (files only), `changed_since` in ns since 1970 (the file's own time).
    """

    name: Callable[[bytes], bool] | None = None
    types: frozenset[EntryType] | None = None
    smallest: int | None = None
    largest: int | None = None
    changed_since: int | None = None

    def fits(self, entry: Entry) -> bool:
        """Whether an entry has what is looked for, its name aside."""
        sized = self.smallest is not None or self.largest is not None
        return (
            (self.types is None or entry.type in self.types)
            and (not sized or entry.type is EntryType.FILE)
            and (self.smallest is None or entry.size >= self.smallest)
            and (self.largest is None or entry.size <= self.largest)
            and (self.changed_since is None or entry.mtime_ns >= self.changed_since)
        )


@dataclass(frozen=True, slots=True)
class Match:
    """A path that fits in some points. `runs` are (first, last) of SpanTree.points without a gap between.

    `versions` counts those that fit, `entry` is the last of them.
    """

    path: bytes
    entry: Entry
    runs: tuple[tuple[int, int], ...]
    versions: int


def named(pattern: str, *, ignore_case: bool) -> Callable[[bytes], bool]:
    """Return what tells whether a path fits a glob: its last part, or all of it where the glob has a slash.

    As in find(1), `*` and `?` match slashes, too, and a leading dot like any other character.
    """
    whole = "/" in pattern.rstrip("/")
    flags = re.IGNORECASE if ignore_case else 0
    fits = re.compile(fnmatch.translate(pattern.strip("/")), flags).match
    if whole:
        return lambda path: fits(os.fsdecode(path)) is not None
    return lambda path: fits(os.fsdecode(path.rpartition(b"/")[2])) is not None


def search(tree: SpanTree, top: Iterable[Place], path: bytes, query: Query) -> Iterator[Match]:
    """Yield what fits below directory `top`, which stands at `path`: a directory before what it holds.

    Raises IntegrityError, RemoteError, CatalogError when a base or the catalog cannot be read.
    """
    lookup = ContentLookup(tree)
    stack = [_level(tree, top, path, query)]
    while stack:
        for below in stack[-1]:
            fitting = [state for state in below.states if query.fits(state.entry)] if below.wanted else []
            if fitting:
                yield _match(below.path, fitting, lookup)
            if any(map(tree.may_hold, below.places)):
                stack.append(_level(tree, below.places, below.path, query))
                break
        else:
            stack.pop()


@dataclass(frozen=True, slots=True)
class _Below:
    path: bytes
    places: list[Place]
    states: list[State]
    wanted: bool


def _level(tree: SpanTree, top: Iterable[Place], path: bytes, query: Query) -> Iterator[_Below]:
    """Yield what a directory ever held; states only of what the query's name fits."""
    prefix = path + b"/" if path else b""
    test = query.name
    only = None if test is None else lambda name: test(prefix + name)
    children = tree.children(top, only)
    wanted = {name for name in children if only is None or only(name)}
    states = tree.states({name: children[name] for name in wanted})
    for name, places in children.items():
        yield _Below(prefix + name, places, states.get(name, []), name in wanted)


def _match(path: bytes, states: list[State], lookup: ContentLookup) -> Match:
    runs: list[tuple[int, int]] = []
    versions = 0
    before: State | None = None
    for state in states:
        adjacent = before is not None and before.last + 1 == state.first
        if adjacent:
            runs[-1] = (runs[-1][0], state.last)
        else:
            runs.append((state.first, state.last))
        if before is None or not adjacent or differences(before, state, lookup):
            versions += 1
        before = state
    return Match(path, states[-1].entry, tuple(runs), versions)
