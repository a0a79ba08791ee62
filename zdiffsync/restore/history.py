"""The time line of a path: every version of what stood there, over all points of a dataset.

Behind `history` and the mount's view of versions, upon restore.spans. Rule: cut by intervals, never
walked point by point.

    line = TimeLine(catalog, bases, "tank/data")      # cheap; reads the list of points once
    line.versions(b"docs/a.txt")                      # [FileVersion, …], oldest first
    line.names(b"docs")                               # {b"a.txt": {EntryType.FILE}, …} over all points
    line.history(b"docs/a.txt")                       # versions and departures, followed through renames
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from zdiffsync.bases.bases import Bases
from zdiffsync.catalog.catalog import Catalog, Point
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.restore.compare import ContentLookup, differences
from zdiffsync.restore.spans import Place, Span, SpanTree, State, same_object
from zdiffsync.restore.tree import Found


@dataclass(frozen=True, slots=True)
class FileVersion:
    """One version of what stood at `path`, held by `points` without a gap, the oldest first.

    `changes` tell how it differs from what stood there before: of "first" (in the first point of all),
    "created", "renamed" or "linked" (from `origin`), "back" (after a gap), "replaced" (by another object),
    "content", "content?" (cannot be told without reading), and the names of compare.metadata_changes.
    `found` is good for opening it in the last of the points (its `links` are not counted).
    """

    path: bytes
    entry: Entry
    points: tuple[Point, ...]
    changes: tuple[str, ...]
    origin: bytes | None
    found: Found


@dataclass(frozen=True, slots=True)
class Departure:
    """From `point` on there is nothing at `path`, or something else; `target` is where it went, if known."""

    path: bytes
    point: Point
    target: bytes | None


class TimeLine:
    """All versions of the paths of one dataset. Thread-safe; sees the points there are when it is made."""

    def __init__(self, catalog: Catalog, bases: Bases, dataset: str) -> None:
        self._catalog, self._bases = catalog, bases
        self._points = catalog.points(dataset)

    def versions(self, path: bytes) -> list[FileVersion]:
        """Return each version of what stood at `path`, oldest first; none when nothing ever did.

        Raises IntegrityError, RemoteError, CatalogError when a base or the catalog cannot be read.
        """
        with self._open() as tree:
            story = _Story(tree)
            return [item for item in story.told(story.at(path)) if isinstance(item, FileVersion)]

    def history(self, path: bytes) -> list[FileVersion | Departure]:
        """Return versions and departures of `path`, and before its first stay those where it came from.

        Raises like `versions`.
        """
        with self._open() as tree:
            story = _Story(tree)
            stays = story.at(path)
            return story.told(story.before(stays) + stays)

    def names(self, path: bytes) -> dict[bytes, frozenset[EntryType]]:
        """Return all names a directory ever had, and what they were. Raises like `versions`."""
        with self._open() as tree:
            found = tree.states(tree.children(tree.resolve(path)))
            return {name: frozenset(state.entry.type for state in states) for name, states in found.items()}

    @contextmanager
    def _open(self) -> Iterator[SpanTree]:
        with self._catalog.rows() as rows:
            yield SpanTree(rows, self._bases, self._points)


@dataclass(frozen=True, slots=True)
class _Stay:
    """One state at one path."""

    path: bytes
    state: State


class _Story:
    """Turns states into versions: merges what is the same, and tells where things came from and went."""

    def __init__(self, tree: SpanTree) -> None:
        self._tree = tree
        self._lookup = ContentLookup(tree)
        self._names: dict[tuple[int, int], list[Span]] = {}

    def at(self, path: bytes) -> list[_Stay]:
        """Return all that stood at `path`, by time."""
        states = self._tree.states({path: self._tree.resolve(path)}).get(path, [])
        return [_Stay(path, state) for state in states]

    def before(self, stays: Sequence[_Stay]) -> list[_Stay]:
        """Return what the first of `stays` was under other names before, by time."""
        if not stays or self._origin(stays[0])[0] != "renamed":
            return []
        found: list[_Stay] = []
        first, place = stays[0], stays[0].state.place
        span = replace(self._tree.chains[first.state.span.chain].whole, until=first.state.span.since)
        while True:
            found = self._stays(place, span) + found
            first = found[0] if found else first
            chain = self._tree.chains[span.chain]
            if chain.index == 0 or first.state.first > chain.start:
                return found
            span = self._tree.chains[chain.index - 1].whole
            moment = replace(span, since=span.until - 1)
            living = self._living(first, moment)
            if living is None:
                return found
            place = living

    def told(self, stays: Sequence[_Stay]) -> list[FileVersion | Departure]:
        """Return versions and departures of `stays`, which are by time."""
        self._load(stays)
        runs: list[tuple[_Stay, _Stay]] = []
        for stay in stays:
            if runs and not self._changes(runs[-1][1], stay):
                runs[-1] = (runs[-1][0], stay)
            else:
                runs.append((stay, stay))
        told: list[FileVersion | Departure] = []
        last: _Stay | None = None
        for run in runs:
            if last is not None:
                told += self._departure(last, run[0])
            told.append(self._version(last, *run))
            last = run[1]
        if last is not None:
            told += self._departure(last, None)
        return told

    def _version(self, before: _Stay | None, first: _Stay, last: _Stay) -> FileVersion:
        state = first.state
        origin: bytes | None = None
        how = ""
        if before is not None and before.path != first.path:
            how = "linked" if self._stands(first, before.path, state.first) else "renamed"
            origin = before.path
        elif before is None or _gap(before, first) or not _same(before, first):
            how, origin = self._origin(first)
        changes = [] if before is None else self._changes(before, first)
        if how:
            changes = [how, *(each for each in changes if each not in {"renamed", "back", "replaced"})]
        elif before is None:
            changes = ["first" if state.first == 0 else "created"]
        end = last.state
        node, stored = end.node, end.place.stored
        return FileVersion(
            path=last.path, entry=end.entry, changes=tuple(changes), origin=origin,
            points=tuple(self._tree.points[state.first : end.last + 1]),
            found=Found(last.path, end.entry, node, end.identity[0], 1, end.content, stored),
        )  # fmt: skip

    def _departure(self, last: _Stay, following: _Stay | None) -> list[Departure]:
        number = last.state.last + 1
        if number >= len(self._tree.points):
            return []
        gone = following is None or following.state.first > number
        if not gone and following is not None and _same(last, following):
            return []
        there = self._paths_at(last, number)
        target = next((path for path in there if not self._stands(last, path, number - 1)), None)
        if not gone and target is None:
            return []
        return [Departure(last.path, self._tree.points[number], target)]

    def _changes(self, before: _Stay, after: _Stay) -> list[str]:
        """Return how a stay differs from the one before; nothing when they are one version."""
        changes = differences(before.state, after.state, self._lookup)
        if before.path != after.path:
            changes = ["renamed", *changes]
        return ["back", *changes] if _gap(before, after) else changes

    def _origin(self, stay: _Stay) -> tuple[str, bytes | None]:
        """Return how an object came to its path: "renamed" or "linked" from where, or "" when it is new."""
        if stay.state.first == 0:
            return "", None
        before = self._paths_at(stay, stay.state.first - 1)
        if not before:
            return "", None
        left = (path for path in before if not self._stands(stay, path, stay.state.first))
        gone = next(left, None)
        return ("linked", before[0]) if gone is None else ("renamed", gone)

    def _stands(self, stay: _Stay, path: bytes, number: int) -> bool:
        """Whether a stay's object is at `path` at a point."""
        moment = self._moment(number)
        root = replace(self._tree.root_of(self._tree.chains[moment.chain]), spans=(moment,))
        states = self._tree.states({path: self._tree.resolve(path, [root])}).get(path, [])
        return any(same_object(state, stay.state) for state in states)

    def _moment(self, number: int) -> Span:
        chain = next(chain for chain in reversed(self._tree.chains) if chain.start <= number)
        sequence = chain.sequence(number)
        return Span(chain.index, sequence, sequence + 1)

    def _paths_at(self, stay: _Stay, number: int) -> list[bytes]:
        """Return the paths of a stay's object at a point, as far as the overlay of its chain knows it."""
        moment = self._moment(number)
        place = stay.state.place
        if moment.chain != stay.state.span.chain:
            living = self._living(stay, moment)
            return [] if living is None else self._paths(living, moment)
        found = self._paths(place, moment)
        if place.known is None and place.stored is not None and place.stored.links > 1:
            # The overlay knows the object by the first of its names in the base, and this is another.
            for known in self._tree.chains[moment.chain].rows.with_identity(place.stored.inode):
                if known.base_path is not None:
                    found += self._paths(Place((moment,), known, known.base_path, place.stored), moment)
        return found

    def _paths(self, place: Place, span: Span) -> list[bytes]:
        if place.known is not None and place.base_path is None:
            # Most objects have one name all their life; telling that needs no look at the directories above.
            names = self._names.get((span.chain, place.known.number))
            if names is not None and not any(s.since < span.until and span.since < s.until for s in names):
                return []
        return [path for _, path in self._tree.paths(place, span)]

    def _living(self, stay: _Stay, moment: Span) -> Place | None:
        """Find a stay's object in another chain at a point: at the same path, or where the overlay has it.

        One that the other chain has only in its base, at another path, is not found: bases have no index.
        """
        tree, path = self._tree, stay.path
        chain = tree.chains[moment.chain]
        at_path = tree.resolve(path, [replace(tree.root_of(chain), spans=(moment,))])
        elsewhere = [
            Place((moment,), known, known.base_path, tree.stored(chain, known.base_path))
            for known in chain.rows.with_identity(stay.state.identity[0])
        ]
        for place in at_path + elsewhere:
            for state in tree.states({path: [place]}).get(path, []):
                sure = place in at_path or stay.state.identity[1] is not None
                # A number may have been given out again; where no generation tells, the time must.
                sure = sure or stay.state.entry.mtime_ns == state.entry.mtime_ns
                if sure and same_object(state, stay.state) and tree.paths(place, moment):
                    return place
        return None

    def _stays(self, place: Place, span: Span) -> list[_Stay]:
        """Return the states of an object over a span, each under the first of its paths."""
        stays: list[_Stay] = []
        at = span.since
        for part, path in self._tree.paths(place, span):
            if part.until <= at:
                continue
            clipped = replace(place, spans=(replace(part, since=max(part.since, at)),))
            stays += [_Stay(path, state) for state in self._tree.states({path: [clipped]}).get(path, [])]
            at = part.until
        return stays

    def _load(self, stays: Sequence[_Stay]) -> None:
        """Read what telling the stays needs: a statement for many, not one for each."""
        self._lookup.load(stay.state for stay in stays)
        objects: dict[int, set[int]] = {}
        for stay in stays:
            if stay.state.place.known is not None:
                objects.setdefault(stay.state.span.chain, set()).add(stay.state.place.known.number)
        for index, numbers in objects.items():
            names = self._tree.chains[index].rows.names_of(numbers)
            for number in numbers:
                rows = names.get(number, [])
                self._names[index, number] = [Span(index, row.since, row.until) for row in rows]


def _gap(before: _Stay, after: _Stay) -> bool:
    return before.state.last + 1 < after.state.first


def _same(before: _Stay, after: _Stay) -> bool:
    return same_object(before.state, after.state)
