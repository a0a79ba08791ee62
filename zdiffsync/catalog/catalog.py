"""The catalog as the other layers see it: points, views, the ledger, applying manifests.

Rule: everything in it but the journal can be made again from the manifests.
"""

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from zdiffsync.catalog.apply import apply_manifest, empty_chain, remove_chain
from zdiffsync.catalog.database import Database, open_engine
from zdiffsync.catalog.holders import Holders
from zdiffsync.catalog.journal import Journal
from zdiffsync.catalog.records import manifest_records
from zdiffsync.catalog.relations import Breach, breaches
from zdiffsync.catalog.schema import (
    ChainRow,
    ContentRow,
    LinkRow,
    ObjectRow,
    PackRow,
    PointRow,
    VersionRow,
)
from zdiffsync.catalog.sqlite import SqliteFile
from zdiffsync.catalog.timeline import ChainRows
from zdiffsync.catalog.upkeep import Upkeep
from zdiffsync.catalog.values import row_entry
from zdiffsync.catalog.view import PointView, parts
from zdiffsync.format.manifest import Header, Record, Summary
from zdiffsync.model.entry import Entry
from zdiffsync.store.names import ManifestName

Manifest = Iterable[Header | Record | Summary]


@dataclass(frozen=True, slots=True)
class Point:
    """A restore point. `created_ns` is when its ZFS snapshot was taken; `id` its row in this catalog.

    `first` to `sequence` are the changes its manifest holds. `restic` is the restic snapshot of its base,
    None when the base held nothing for restic to store, `base_ns` the base's time.
    """

    id: int
    key: str
    chain: str
    chain_id: int
    first: int
    sequence: int
    revision: int
    dataset: str
    dataset_guid: int
    host: str
    snapshot: str
    guid: int
    createtxg: int
    created_ns: int
    restic: str | None
    base_ns: int
    excludes: str
    tags: tuple[str, ...]
    keep: bool
    stats: dict[str, Any]

    @property
    def kind(self) -> str:
        """'base' or 'increment'."""
        return "increment" if self.sequence else "base"

    @property
    def manifest(self) -> ManifestName:
        """Where its manifest lies."""
        return ManifestName(self.chain, self.first, self.sequence, self.revision)


@dataclass(frozen=True, slots=True)
class Root:
    """The root directory of a point: its number as an object, its ZFS object number, its metadata."""

    object: int
    zfs_object: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack: its id, the row of its chain, its size in bytes."""

    key: str
    chain_id: int
    size: int


class Catalog:
    """A catalog in a file or another database. A context manager; closes its connections on leaving.

    The journal is of one host alone: beside a catalog that others share it has a file of its own.
    """

    def __init__(self, place: Path | Database, journal: Path | None = None) -> None:
        self._database = SqliteFile(place) if isinstance(place, Path) else place
        with ExitStack() as stack:
            self._engine = open_engine(self._database)
            stack.callback(self._engine.dispose)
            local = self._engine if journal is None else open_engine(SqliteFile(journal))
            stack.callback(local.dispose)
            self.journal = Journal(local)
            self._close = stack.pop_all().close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._close()

    def apply(self, items: Manifest, revision: int = 0) -> None:
        """Take in one manifest; see catalog.apply. Raises ChainError, CatalogError, IntegrityError."""
        with self._changing() as connection:
            apply_manifest(connection, items, revision)

    def replace_chain(self, chain: str, manifests: Iterable[tuple[int, Manifest]]) -> None:
        """Take in all manifests of a chain, each with its revision, in place of what is known of it.

        Points keep their ids, and readers see the old rows or the new. Raises like `apply`.
        """
        with self._changing() as connection:
            ids = empty_chain(connection, chain)
            for revision, items in manifests:
                apply_manifest(connection, items, revision, ids)

    def remove_chain(self, chain: str) -> None:
        """Take out a chain that is no longer on the remote."""
        with self._changing() as connection:
            remove_chain(connection, chain)

    def _changing(self) -> AbstractContextManager[Connection]:
        # Before looking what is there: another process may be taking it in, too.
        return self._database.changing(self._engine)

    def points(self, dataset: str | None = None) -> list[Point]:
        """Return all points, oldest first."""
        return self._points() if dataset is None else self._points(ChainRow.dataset == dataset)

    def points_of(self, dataset_guid: int, host: str) -> list[Point]:
        """Return the points that `host` made of one dataset, whatever its name was then, oldest first."""
        return self._points(ChainRow.dataset_guid == str(dataset_guid), PointRow.host == host)

    def points_at(self, guids: Iterable[int]) -> list[Point]:
        """Return the points of these ZFS snapshots."""
        return [point for part in parts(map(str, guids)) for point in self._points(PointRow.guid.in_(part))]

    def _points(self, *conditions: ColumnElement[bool]) -> list[Point]:
        point, chain = PointRow, ChainRow
        # Columns and not rows of the mapper, which cost three times as much: a run asks for each dataset.
        statement = (
            select(
                point.id, point.key, chain.key.label("chain"), chain.id.label("chain_id"), point.first,
                point.sequence, point.revision, chain.dataset, chain.dataset_guid, point.host, point.snapshot,
                point.guid, point.createtxg, point.created_ns, chain.restic, chain.base_ns, chain.excludes,
                point.tags, point.keep, point.stats,
            )
            .join(chain, chain.id == point.chain)
            .where(*conditions)
            .order_by(point.created_ns, point.id)
        )  # fmt: skip
        with self._engine.connect() as connection:
            return [_point(row) for row in connection.execute(statement)]

    def stamp(self) -> tuple[int, int]:
        """Return what is another value when points have been added or removed."""
        with self._engine.connect() as connection:
            count, last = connection.execute(select(func.count(), func.max(PointRow.id))).one()
            return count, last or 0

    def roots(self) -> dict[int, Root]:
        """Return the root directory of every point, by the point's id."""
        statement = (
            select(PointRow.id.label("point"), ObjectRow.number, ObjectRow.zfs_object, VersionRow.__table__)
            .join(ObjectRow, and_(ObjectRow.chain == PointRow.chain, ObjectRow.base_path == b""))
            .join(
                VersionRow,
                and_(
                    VersionRow.chain == PointRow.chain,
                    VersionRow.object == ObjectRow.number,
                    VersionRow.since <= PointRow.sequence,
                    or_(VersionRow.until.is_(None), VersionRow.until > PointRow.sequence),
                ),
            )
        )
        with self._engine.connect() as connection:
            return {
                row.point: Root(row.number, row.zfs_object, row_entry(row))  # type: ignore[arg-type]
                for row in connection.execute(statement)
            }

    def manifests(self) -> set[ManifestName]:
        """Return the manifests of all points the catalog has."""
        columns = (ChainRow.key, PointRow.first, PointRow.sequence, PointRow.revision)
        with self._engine.connect() as connection:
            rows = connection.execute(select(*columns).join(PointRow, PointRow.chain == ChainRow.id))
            return {ManifestName(*row) for row in rows}

    @contextmanager
    def view(self, point: Point) -> Iterator[PointView]:
        """Open the tree of a point."""
        with self._engine.connect() as connection:
            yield PointView(connection, point.chain_id, point.sequence)

    @contextmanager
    def upkeep(self) -> Iterator[Upkeep]:
        """Open what forget and prune ask of whole chains."""
        with self._engine.connect() as connection:
            yield Upkeep(connection)

    @contextmanager
    def rows(self) -> Iterator[Callable[[int], ChainRows]]:
        """Open the rows of chains over all their points: what is yielded gives those of a chain by its id."""
        with self._engine.connect() as connection:
            yield partial(ChainRows, connection)

    @contextmanager
    def holders(self) -> Iterator[Holders]:
        """Open what tells who needs which contents and packs."""
        with self._engine.connect() as connection:
            yield Holders(connection)

    def records(self, point: Point, objects_elsewhere: AbstractSet[int]) -> Iterator[Record]:
        """Yield the records of a point's manifest; see catalog.records."""
        with self._engine.connect() as connection:
            yield from manifest_records(connection, point.chain_id, point.sequence, objects_elsewhere)

    def breaches(self) -> list[Breach]:
        """Return what of all chains does not fit together."""
        with self._engine.connect() as connection:
            return list(breaches(connection))

    def ledger(self, point: Point) -> dict[tuple[int, int], tuple[bytes, ...]]:
        """Return the chain's ledger: the paths of objects with several names, by (object, generation)."""
        found: dict[tuple[int, int], list[bytes]] = {}
        with self._engine.connect() as connection:
            statement = select(LinkRow.zfs_object, LinkRow.generation, LinkRow.name)
            for row in connection.execute(statement.where(LinkRow.chain == point.chain_id)):
                found.setdefault((row.zfs_object, row.generation), []).append(row.name)
        return {identity: tuple(sorted(names)) for identity, names in found.items()}

    def last_numbers(self, point: Point) -> tuple[int, int]:
        """Return the highest object and content numbers used in the point's chain."""
        with self._engine.connect() as connection:
            return tuple(  # type: ignore[return-value]
                connection.execute(
                    select(func.coalesce(func.max(table.number), 0)).where(table.chain == point.chain_id)
                ).scalar_one()
                for table in (ObjectRow, ContentRow)
            )

    def packs(self) -> list[Pack]:
        """Return all packs that points name."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(PackRow.key, PackRow.chain, PackRow.size))
            return [Pack(*row) for row in rows]

    def packed_bytes(self, point: Point) -> int:
        """Return the bytes of all packs in the point's chain: the size of its increments."""
        with self._engine.connect() as connection:
            total = connection.execute(
                select(func.coalesce(func.sum(PackRow.size), 0)).where(PackRow.chain == point.chain_id)
            )
            return int(total.scalar_one())  # a sum is a Decimal in some databases


@contextmanager
def renewed(place: Path | Database, journal: Path | None = None) -> Iterator[Catalog]:
    """Open an empty catalog, or one begun before, that takes the place of another when the body is done."""
    database = SqliteFile(place) if isinstance(place, Path) else place
    with database.renewed() as new, Catalog(new, journal) as catalog:
        yield catalog


def _point(row: Any) -> Point:
    return Point(
        id=row.id, key=row.key, chain=row.chain, chain_id=row.chain_id, first=row.first,
        sequence=row.sequence, revision=row.revision, dataset=row.dataset, dataset_guid=int(row.dataset_guid),
        host=row.host, snapshot=row.snapshot, guid=int(row.guid), createtxg=row.createtxg,
        created_ns=row.created_ns, restic=row.restic, base_ns=row.base_ns, excludes=row.excludes,
        tags=tuple(row.tags), keep=row.keep, stats=row.stats,
    )  # fmt: skip
