"""The trees of all points of a dataset at once: each name with the spans of points it holds for.

What PointTree is for one point. Under history, find and the mount's view of versions.
Rule: never goes point by point. A span is cut only where a row of the overlay says so, and what no
overlay touches is read once from the base however many points share it.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from zdiffsync.bases.bases import Bases
from zdiffsync.bases.nodes import BaseNode
from zdiffsync.catalog.catalog import Point
from zdiffsync.catalog.timeline import ChainRows, Known, NameSpan, VersionSpan, Wanted
from zdiffsync.catalog.view import Node
from zdiffsync.format.manifest import IN_BASE
from zdiffsync.model.entry import Entry, EntryType

_Row = TypeVar("_Row", NameSpan, VersionSpan)


@dataclass(frozen=True, slots=True)
class Span:
    """Points `since` <= sequence < `until` of a chain; `chain` counts the chains, the oldest is 0."""

    chain: int
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class Place:
    """What a name leads to over spans of points: an object of the overlay, a node of the base, or both.

    Several spans only where nothing lies above the base, which the chains share; `base_path` is then its
    path in the first of them.
    """

    spans: tuple[Span, ...]
    known: Known | None
    base_path: bytes | None
    stored: BaseNode | None


@dataclass(frozen=True, slots=True)
class State:
    """One version of what stands in a place. `first` and `last` count the points of SpanTree, both included.

    `content` is as in tree.Found. `identity` is (ZFS object number, generation); the generation is None
    where only the base knows the object.
    """

    first: int
    last: int
    span: Span
    place: Place
    entry: Entry
    content: int | None
    identity: tuple[int, int | None]

    @property
    def node(self) -> Node:
        """The place in the tree of each of its points."""
        return Node(self.place.known.number if self.place.known else None, self.place.base_path)


def same_object(one: State, other: State) -> bool:
    """Whether two states are of one object, as far as is known."""
    if None not in {one.identity[1], other.identity[1]}:
        return one.identity == other.identity
    if one.identity[0] != other.identity[0]:
        return False
    # In a chain, an object that came after the base has no path there: its number was given out again.
    return one.span.chain != other.span.chain or None not in {one.place.base_path, other.place.base_path}


class Chain:
    """One chain of the dataset: its points, and its rows."""

    def __init__(self, index: int, points: Sequence[Point], start: int, rows: ChainRows) -> None:
        self.index, self.points, self.start, self.rows = index, points, start, rows
        self.restic = points[0].restic
        self._sequences = [point.sequence for point in points]

    @cached_property
    def overlaid(self) -> frozenset[bytes]:
        """The base paths at or below which anything ever changed."""
        return self.rows.overlaid()

    @cached_property
    def holders(self) -> frozenset[int]:
        """The directories of which the overlay ever knew a name."""
        return self.rows.holders()

    @cached_property
    def perhaps_holders(self) -> frozenset[int]:
        """Objects below which something can stand: of those of the base it is not known here."""
        return self.holders if self.restic is None else self.holders | self.rows.based()

    @property
    def whole(self) -> Span:
        """All points of the chain, also those that are gone in between."""
        return Span(self.index, self._sequences[0], self._sequences[-1] + 1)

    def sequence(self, number: int) -> int:
        """Return the sequence of a point by its number in the SpanTree."""
        return self._sequences[number - self.start]

    def numbers(self, span: Span) -> range:
        """Return which points of the SpanTree a span holds."""
        low, high = bisect_left(self._sequences, span.since), bisect_left(self._sequences, span.until)
        return range(self.start + low, self.start + high)


class SpanTree:
    """All trees of `points`, the points of one dataset; `rows` gives the rows of a chain by its id."""

    def __init__(self, rows: Callable[[int], ChainRows], bases: Bases, points: Iterable[Point]) -> None:
        self._bases = bases
        by_chain: dict[int, list[Point]] = {}
        for point in sorted(points, key=lambda point: (point.created_ns, point.sequence)):
            by_chain.setdefault(point.chain_id, []).append(point)
        self.points: list[Point] = []
        self.chains: list[Chain] = []
        for number, members in by_chain.items():
            members.sort(key=lambda point: point.sequence)
            self.chains.append(Chain(len(self.chains), members, len(self.points), rows(number)))
            self.points += members

    def root(self) -> list[Place]:
        """Return the root directory of all points."""
        return [self.root_of(chain) for chain in self.chains]

    def root_of(self, chain: Chain) -> Place:
        """Return the root directory of the points of one chain."""
        known = chain.rows.at_base_paths([b""]).get(b"")
        return Place((chain.whole,), known, b"", self.stored(chain, b""))

    def resolve(self, path: bytes, start: Iterable[Place] | None = None) -> list[Place]:
        """Return what stands at `path` over all points (or those of the roots `start`), chain by chain."""
        places = self.root() if start is None else list(start)
        for name in path.split(b"/") if path else ():
            places = self.child(places, name)
        return places

    def child(self, places: Iterable[Place], name: bytes) -> list[Place]:
        """Return what `name` in a directory leads to, in the order of the directory's places and of time."""
        return [found for place in places for _, found in self._named(place, name)]

    def children(
        self, places: Iterable[Place], only: Callable[[bytes], bool] | None = None
    ) -> dict[bytes, list[Place]]:
        """Return what a directory holds in any of its points, by name, sorted.

        With `only` names that it does not want may be left out, where the overlay knows nothing below them.
        """
        found: dict[bytes, list[Place]] = {}
        shared: dict[str, list[Place]] = {}
        for place in places:
            if place.stored is not None and place.stored.subtree and self.pristine(place):
                shared.setdefault(place.stored.subtree, []).append(place)
                continue
            for name, child in self._named(place, None, only):
                found.setdefault(name, []).append(child)
        for subtree, alike in shared.items():
            spans = tuple(span for place in alike for span in place.spans)
            inside = _prefix(alike[0].base_path)
            for name, stored in self._bases.tree(subtree).items():
                found.setdefault(name, []).append(Place(spans, None, inside + name, stored))
        return dict(sorted(found.items()))

    def pristine(self, place: Place) -> bool:
        """Whether the overlay has nothing to say of a place and all below it."""
        return place.known is None and all(
            place.base_path not in self.chains[span.chain].overlaid for span in place.spans
        )

    def states(self, named: Mapping[bytes, Iterable[Place]]) -> dict[bytes, list[State]]:
        """Return the versions of what stands in places, by name, each by time; of nothing no key."""
        numbers: dict[int, set[int]] = {}
        for places in named.values():
            for place in places:
                if place.known is not None:
                    numbers.setdefault(place.spans[0].chain, set()).add(place.known.number)
        versions = {chain: self.chains[chain].rows.versions(wanted) for chain, wanted in numbers.items()}
        found = {}
        for name, places in named.items():
            states = [
                state
                for place in places
                for span in place.spans
                for state in self._cut(
                    place, span, versions[span.chain].get(place.known.number, ()) if place.known else ()
                )
            ]
            if states:
                found[name] = sorted(states, key=lambda state: state.first)
        return found

    def paths(self, place: Place, span: Span) -> list[tuple[Span, bytes]]:
        """Return the paths an object had over parts of a span, by time and then by path.

        Further names of a hard-linked file that nothing has touched since the base are not among them.
        """
        found = self._paths(self.chains[span.chain], place.known, place.base_path, span)
        return sorted(found, key=lambda each: (each[0].since, each[1]))

    def _paths(
        self, chain: Chain, known: Known | None, base_path: bytes | None, span: Span
    ) -> Iterator[tuple[Span, bytes]]:
        if base_path == b"":
            yield span, b""
            return
        if known is not None:
            rows = chain.rows.names_of([known.number]).get(known.number, [])
            above = chain.rows.objects({row.parent for row in rows})
            for row in rows:
                part = Span(span.chain, max(row.since, span.since), min(row.until, span.until))
                if part.since < part.until:
                    parent = above[row.parent]
                    for held, path in self._paths(chain, parent, parent.base_path, part):
                        yield held, _prefix(path) + row.name
        if base_path is not None:
            head, _, name = base_path.rpartition(b"/")
            directory = chain.rows.at_base_paths([head]).get(head)
            led = () if directory is None else chain.rows.names(directory.number, name)
            for part, taken in _parts(span, led):
                if taken is None:
                    for held, path in self._paths(chain, directory, head, part):
                        yield held, _prefix(path) + name

    def stored(self, chain: Chain, base_path: bytes | None) -> BaseNode | None:
        """Return what the base of a chain has at a path."""
        if chain.restic is None or base_path is None:
            return None
        node: BaseNode | None = self._bases.node(chain.restic, base_path)
        return node

    def may_hold(self, place: Place) -> bool:
        """Whether anything can stand below a place."""
        if place.stored is not None and place.stored.subtree:
            return True
        return place.known is not None and place.known.number in self.chains[place.spans[0].chain].holders

    def _named(
        self, place: Place, name: bytes | None, only: Callable[[bytes], bool] | None = None
    ) -> Iterator[tuple[bytes, Place]]:
        """Yield the names of a directory (or only `name`) with what they lead to over parts of its spans."""
        chain = self.chains[place.spans[0].chain]
        rows: dict[bytes, list[NameSpan]] = {}
        if place.known is not None:
            for row in chain.rows.names(place.known.number, name, _wanted(place, chain, only)):
                rows.setdefault(row.name, []).append(row)
        inside = self._inside(place, name)
        prefix = _prefix(place.base_path)
        objects = chain.rows.objects(
            {row.child for spans in rows.values() for row in spans if row.child is not None}
        )
        overlaid = chain.rows.at_base_paths(prefix + each for each in inside)
        for each in rows.keys() | inside.keys():
            path = prefix + each
            for part, led in _parts(place.spans[0], rows.get(each, ())):
                if led is None:
                    if each in inside:
                        yield each, Place((part,), overlaid.get(path), path, inside[each])
                elif led.child is not None:
                    known = objects[led.child]
                    stored = inside.get(each) if known.base_path == path else None
                    stored = stored or self.stored(chain, known.base_path)
                    yield each, Place((part,), known, known.base_path, stored)

    def _inside(self, place: Place, name: bytes | None) -> Mapping[bytes, BaseNode]:
        if place.stored is None or not place.stored.subtree:
            return {}
        inside: Mapping[bytes, BaseNode] = self._bases.tree(place.stored.subtree)
        if name is None:
            return inside
        return {name: inside[name]} if name in inside else {}

    def _cut(self, place: Place, span: Span, versions: Iterable[VersionSpan]) -> Iterator[State]:
        """Yield the versions of a place over one of its spans that some point holds."""
        for part, version in _parts(span, versions):
            if version is not None:
                entry, content = version.entry, version.content
            elif place.stored is not None:
                entry, content = place.stored.entry, IN_BASE
            else:
                continue
            held = self.chains[part.chain].numbers(part)
            if not held:
                continue
            if place.known is not None:
                identity: tuple[int, int | None] = (place.known.zfs_object, place.known.generation)
            else:
                assert place.stored is not None, "without an object there is nothing but the base"
                identity = (place.stored.inode, None)
            if entry.type is not EntryType.FILE:
                content = None
            yield State(held[0], held[-1], part, place, entry, content, identity)


def _parts(span: Span, rows: Iterable[_Row]) -> Iterator[tuple[Span, _Row | None]]:
    """Cut a span by rows that do not overlap, given by time; None where no row holds."""
    at = span.since
    for row in rows:
        since, until = max(row.since, at), min(row.until, span.until)
        if since >= until:
            continue
        if at < since:
            yield Span(span.chain, at, since), None
        yield Span(span.chain, since, until), row
        at = until
    if at < span.until:
        yield Span(span.chain, at, span.until), None


def _wanted(place: Place, chain: Chain, only: Callable[[bytes], bool] | None) -> Wanted | None:
    if only is None or (place.stored is not None and place.stored.subtree):
        return None  # a name that hides one of the base must not be left out
    return lambda name, child: child in chain.perhaps_holders or only(name)


def _prefix(path: bytes | None) -> bytes:
    return path + b"/" if path else b""
