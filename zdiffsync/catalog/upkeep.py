"""What forgetting and pruning ask of a whole chain: what kept points need, and how full packs are.

Between the catalog and `maintain`. Rule: in doubt something is needed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain as chained

from sqlalchemy import Connection, func, or_, select

from zdiffsync.catalog.schema import (
    ChainRow,
    ContentRow,
    DirentRow,
    ObjectRow,
    PackRow,
    PortionRow,
    VersionRow,
)
from zdiffsync.catalog.values import row_content
from zdiffsync.catalog.view import parts
from zdiffsync.format.manifest import ContentRecord, PackRecord
from zdiffsync.format.windows import PACK_MAGIC


@dataclass(frozen=True, slots=True)
class Needed:
    """Numbers of the objects that exist in, and of the contents that are needed by, certain points."""

    objects: set[int]
    contents: set[int]


@dataclass(frozen=True, slots=True)
class PackUse:
    """A pack of the chain `chain`: its size and how many bytes of it some content needs."""

    pack: str
    chain: str
    size: int
    used: int

    @property
    def unused(self) -> int:
        """Bytes nothing needs."""
        return max(0, self.size - len(PACK_MAGIC) - self.used)


@dataclass(frozen=True, slots=True)
class Held:
    """A content with all its packs, and the sequence of the point whose manifest holds it."""

    sequence: int
    record: ContentRecord


class Upkeep:
    """Reads through an open connection; memory follows the changes of one chain."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def needed(self, chain: int, sequences: Iterable[int]) -> Needed:
        """Return what the points of these sequences need, their deltas' ancestors included."""
        rows = _ChainTree(self._connection, chain)
        objects: set[int] = set()
        contents: set[int] = set()
        versions = self._connection.execute(
            select(VersionRow.object, VersionRow.since, VersionRow.until, VersionRow.content).where(
                VersionRow.chain == chain, VersionRow.content > 0
            )
        ).all()
        for sequence in sequences:
            there = rows.reachable(sequence)
            objects |= there
            contents.update(
                row.content
                for row in versions
                if row.object in there and _holds(row.since, row.until, sequence)
            )
        return Needed(objects, self._with_sources(chain, contents))

    def _with_sources(self, chain: int, contents: set[int]) -> set[int]:
        statement = select(ContentRow.number, ContentRow.source)
        rows = self._connection.execute(statement.where(ContentRow.chain == chain, ContentRow.source > 0))
        sources = dict(rows.all())
        found = set(contents)
        for number in contents:
            below = sources.get(number)
            while below is not None and below not in found:
                found.add(below)
                below = sources.get(below)
        return found

    def packs(self) -> Iterator[PackUse]:
        """Yield all packs that manifests name."""
        small = select(ContentRow.pack, ContentRow.length.label("size")).where(
            ContentRow.pack.is_not(None), ContentRow.windowed.is_(False)
        )
        portions = small.union_all(select(PortionRow.pack, PortionRow.size)).subquery()
        used = (
            select(portions.c.pack, func.sum(portions.c.size).label("used"))
            .group_by(portions.c.pack)
            .subquery()
        )
        statement = (
            select(
                PackRow.key,
                ChainRow.key.label("of"),
                PackRow.size,
                func.coalesce(used.c.used, 0).label("used"),
            )
            .join(ChainRow, ChainRow.id == PackRow.chain)
            .outerjoin(used, used.c.pack == PackRow.key)
        )
        for row in self._connection.execute(statement):
            yield PackUse(row.key, row.of, row.size, int(row.used))  # a sum is a Decimal in some databases

    def contents_in(self, chain: int, packs: Sequence[str]) -> Iterator[Held]:
        """Yield the contents that have bytes in these packs, ordered by where their blob lies."""
        numbers: set[int] = set()
        for part in parts(packs):
            with_portion = select(PortionRow.content).where(
                PortionRow.chain == chain, PortionRow.pack.in_(part)
            )
            statement = select(ContentRow.number).where(
                ContentRow.chain == chain, or_(ContentRow.pack.in_(part), ContentRow.number.in_(with_portion))
            )
            numbers.update(self._connection.execute(statement).scalars())
        return self.contents(chain, numbers)

    def contents(self, chain: int, numbers: Iterable[int]) -> Iterator[Held]:
        """Yield contents by their numbers, ordered by where their blob lies."""
        rows = chained.from_iterable(
            self._connection.execute(
                select(ContentRow.__table__).where(ContentRow.chain == chain, ContentRow.number.in_(part))
            ).all()
            for part in parts(sorted(numbers))
        )
        for row in sorted(rows, key=lambda row: (row.pack or "", row.offset)):
            yield Held(row.sequence, self._complete(chain, row_content(row)))  # type: ignore[arg-type]

    def _complete(self, chain: int, record: ContentRecord) -> ContentRecord:
        if not record.windowed:
            return record
        portions = self._connection.execute(
            select(PortionRow.pack, PortionRow.size).where(
                PortionRow.chain == chain, PortionRow.content == record.number
            )
        )
        return ContentRecord(
            record.number, record.size, record.digest, record.windowed, record.blob,
            dict(portions.all()), record.source, record.source_path, record.depth,
        )  # fmt: skip

    def pack(self, key: str) -> PackRecord | None:
        """Return what is known of a pack."""
        row = self._connection.execute(select(PackRow.size, PackRow.sha256).where(PackRow.key == key)).first()
        return None if row is None else PackRecord(key, row.size, row.sha256)


def _holds(since: int, until: int | None, sequence: int) -> bool:
    return since <= sequence and (until is None or sequence < until)


class _ChainTree:
    """All names of a chain's overlay, over all its points."""

    def __init__(self, connection: Connection, chain: int) -> None:
        self._names: dict[int, list[tuple[bytes, int | None, int, int | None]]] = {}
        names = select(DirentRow.parent, DirentRow.name, DirentRow.child, DirentRow.since, DirentRow.until)
        for row in connection.execute(names.where(DirentRow.chain == chain)):
            self._names.setdefault(row.parent, []).append((row.name, row.child, row.since, row.until))
        based: dict[bytes, list[int]] = {}
        objects = select(ObjectRow.base_path, ObjectRow.number).where(
            ObjectRow.chain == chain, ObjectRow.base_path.is_not(None)
        )
        for path, number in connection.execute(objects):
            assert path is not None, "selected so"
            based.setdefault(path, []).append(number)
        self._roots = based.pop(b"", [])
        # An object of the base lies, by its base path, below the nearest directory that the overlay knows.
        self._based: dict[int, list[tuple[bytes, int]]] = {}
        for path, numbers in based.items():
            for above, name in _above(path, lambda at: self._roots if not at else based.get(at, [])):
                self._based.setdefault(above, []).extend((name, number) for number in numbers)

    def reachable(self, sequence: int) -> set[int]:
        """Return the objects that some path leads to at a point."""
        found = set(self._roots)
        queue = list(found)
        while queue:
            directory = queue.pop()
            decided: set[bytes] = set()
            below: list[int] = []
            for name, child, since, until in self._names.get(directory, ()):
                if _holds(since, until, sequence):
                    decided.add(name)
                    if child is not None:
                        below.append(child)
            below += [number for name, number in self._based.get(directory, ()) if name not in decided]
            fresh = [number for number in below if number not in found]
            found.update(fresh)
            queue += fresh
        return found


def _above(path: bytes, objects: Callable[[bytes], list[int]]) -> Iterator[tuple[int, bytes]]:
    """Yield the nearest objects above a base path, each with the name in it that the path goes through."""
    at = path
    while at:
        at, _, name = at.rpartition(b"/")
        if numbers := objects(at):
            yield from ((number, name) for number in numbers)
            return
