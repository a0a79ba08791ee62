"""Taking a manifest into the catalog: the only way points get into it.

Called after the manifest's upload by the run that made it, and for manifests found on the remote
that the catalog lacks. Rule: applied twice a manifest changes nothing, and one that refers to what no
manifest has introduced is refused; a chain whose manifests were made anew is emptied and applied again in
one transaction.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    bindparam,
    cast,
    delete,
    exists,
    insert,
    select,
    update,
)

from zdiffsync.catalog.database import ContradictionError, JsonEach, database_of
from zdiffsync.catalog.prepared import Prepared
from zdiffsync.catalog.schema import (
    Base,
    ChainRow,
    ContentRow,
    DirentRow,
    LinkRow,
    ObjectRow,
    PackRow,
    PointRow,
    PortionRow,
    VersionRow,
)
from zdiffsync.catalog.values import entry_columns
from zdiffsync.errors import CatalogError, ChainError, IntegrityError
from zdiffsync.format.manifest import (
    IN_BASE,
    ContentRecord,
    Header,
    LinksRecord,
    NameRecord,
    ObjectRecord,
    PackRecord,
    Record,
    Summary,
    VersionRecord,
)
from zdiffsync.format.windows import BlobRef

_BATCH = 2000  # rows; keeps memory flat and statements short

_Numbered = type[ObjectRow] | type[ContentRow]


def apply_manifest(
    connection: Connection,
    items: Iterable[Header | Record | Summary],
    revision: int = 0,
    ids: Mapping[str, int] | None = None,
) -> None:
    """Write one point. `ids`: row ids that points are to have, by key; others get new ones.

    Raises ChainError when its predecessor is not in the catalog, IntegrityError when its records contradict
    each other or those of its chain.
    """
    iterator = iter(items)
    header = next(iterator)
    assert isinstance(header, Header), "read_manifest yields the header first"
    if database_of(connection).repository not in {None, header.repository}:
        raise CatalogError(f"point {header.point} is of another repository than the catalog; run again")
    if connection.execute(select(PointRow.id).where(PointRow.key == header.point)).first():
        return
    try:
        chain = _chain_id(connection, header)
        writer = _Writer(connection, chain, header)
        for item in iterator:
            if isinstance(item, Summary):
                writer.flush()
                point = _point_columns(header, item) | {"chain": chain, "revision": revision}
                if ids and header.point in ids:
                    point["id"] = ids[header.point]
                connection.execute(insert(PointRow).values(point))
                return
            assert not isinstance(item, Header), "read_manifest yields one header"
            writer.add(item)
    except ContradictionError as error:
        raise _contradiction(header.point, str(error.__cause__).splitlines()[0]) from error
    raise CatalogError(f"manifest of point {header.point} has no end")


def _contradiction(point: str, why: str) -> IntegrityError:
    return IntegrityError(f"the manifest of point {point} contradicts itself or another: {why}")


def empty_chain(connection: Connection, chain: str) -> dict[str, int]:
    """Take all points of a chain out, keeping its own row; return the points' row ids by key."""
    found = connection.execute(select(ChainRow.id).where(ChainRow.key == chain)).scalar()
    points = connection.execute(select(PointRow.key, PointRow.id).where(PointRow.chain == found)).all()
    for table in (PointRow, DirentRow, VersionRow, ContentRow, PortionRow, PackRow, ObjectRow, LinkRow):
        connection.execute(delete(table).where(table.chain == found))
    return {row.key: row.id for row in points}


def remove_chain(connection: Connection, chain: str) -> None:
    """Take a chain out altogether."""
    empty_chain(connection, chain)
    connection.execute(delete(ChainRow).where(ChainRow.key == chain))


def _chain_id(connection: Connection, header: Header) -> int:
    found = connection.execute(select(ChainRow.id).where(ChainRow.key == header.chain)).scalar()
    if header.first == 0:
        if found is not None:
            return found
        if header.base_ns is None:
            raise IntegrityError(f"the manifest of point {header.point} holds a base but not its time")
        values: dict[str, Any] = {
            "key": header.chain, "dataset": header.dataset, "dataset_guid": str(header.dataset_guid),
            "restic": header.restic, "base_ns": header.base_ns, "excludes": header.excludes,
        }  # fmt: skip
        if database_of(connection).repository is not None:
            # Others read on while a catalog made anew takes this one's place: there, too, it is this chain's.
            values["id"] = int(header.chain, 16) - (1 << 63)
        key = connection.execute(insert(ChainRow).values(values)).inserted_primary_key
        assert key is not None, "databases return the new row's id"
        return int(key[0])
    before = select(PointRow.id).where(PointRow.chain == found, PointRow.sequence == header.first - 1)
    if found is None or connection.execute(before).first() is None:
        raise ChainError(
            f"point {header.first} of chain {header.chain} has no predecessor in the catalog; "
            "delete the catalog, it is made again from the remote"
        )
    renamed = update(ChainRow).where(ChainRow.id == found).values(dataset=header.dataset)
    connection.execute(renamed)  # the chain goes by the name its dataset had last
    return found


def _point_columns(header: Header, summary: Summary) -> dict[str, Any]:
    return {
        "key": header.point, "first": header.first, "sequence": header.sequence, "host": header.host,
        "snapshot": header.snapshot, "guid": str(header.guid), "createtxg": header.createtxg,
        "created_ns": header.created_ns, "tags": list(header.tags), "keep": header.keep,
        "stats": summary.stats,
    }  # fmt: skip


class _Writer:
    """Collects rows by kind and writes a kind when its batch is full; kinds do not depend on each other."""

    def __init__(self, connection: Connection, chain: int, header: Header) -> None:
        self._connection = connection
        self._chain, self._sequence, self._point = chain, header.sequence, header.point
        self._rows: dict[type[Record], list[dict[str, Any]]] = {}
        self._portions: list[dict[str, Any]] = []
        self._awaited: dict[_Numbered, set[int]] = {ObjectRow: set(), ContentRow: set()}

    def add(self, record: Record) -> None:
        rows = self._rows.setdefault(type(record), [])
        rows.append(self._row(record))
        if isinstance(record, ContentRecord) and record.windowed:
            self._portions += [
                {"chain": self._chain, "content": record.number, "pack": pack, "size": size}
                for pack, size in record.packs.items()
            ]
        if len(rows) >= _BATCH:
            self._write(type(record))

    def flush(self) -> None:
        for kind in list(self._rows):
            self._write(kind)
        for table, numbers in self._awaited.items():
            if missing := self._missing(table, numbers):
                raise IntegrityError(
                    f"the manifest of point {self._point} names {table.__tablename__} {min(missing)}, which "
                    "no manifest of its chain has; run zdiffsync check"
                )

    def _write(self, kind: type[Record]) -> None:
        rows = self._rows.pop(kind)
        for column, table in _REFERENCES.get(kind, {}).items():
            self._awaited[table] |= self._missing(table, {row[column] for row in rows} - {None, IN_BASE})
        if kind in _ENDED:
            _ENDED[kind].run(self._connection, rows)
        if kind is LinksRecord:
            rows = [{**row, "name": name} for row in rows for name in row["names"]]
        _INSERTED[kind].run(self._connection, rows)
        if kind is ContentRecord and self._portions:
            self._connection.execute(insert(PortionRow), self._portions)
            self._portions.clear()

    def _missing(self, table: _Numbered, numbers: set[int]) -> set[int]:
        """Return those of the numbers that the chain does not have, or not yet."""
        values = {"chain": self._chain, "numbers": json.dumps(list(numbers))}
        return numbers.difference(row.number for row in _AMONG[table].ask(self._connection, values))

    def _row(self, record: Record) -> dict[str, Any]:
        common = {"chain": self._chain}
        span = {**common, "since": self._sequence}
        match record:
            case PackRecord():
                return {**common, "key": record.pack, "size": record.size, "sha256": record.sha256}
            case ContentRecord():
                blob = record.blob or BlobRef("", 0, 0)
                return {
                    **common, "number": record.number, "sequence": self._sequence,
                    "size": record.size, "digest": record.digest,
                    "windowed": record.windowed, "pack": blob.pack or None, "offset": blob.offset,
                    "length": blob.length, "source": record.source,
                    "source_path": record.source_path, "depth": record.depth,
                }  # fmt: skip
            case ObjectRecord():
                return {
                    **common, "number": record.number, "zfs_object": record.zfs_object,
                    "generation": record.generation, "base_path": record.base_path,
                }  # fmt: skip
            case VersionRecord():
                return {
                    **span, "object": record.object, "content": record.content,
                    **entry_columns(record.entry),
                }  # fmt: skip
            case NameRecord():
                return {
                    **span, "parent": record.parent, "name": record.name, "child": record.child,
                }  # fmt: skip
            case LinksRecord():
                if len(set(record.names)) < len(record.names):
                    raise _contradiction(self._point, "two names of an object are the same")
                return {
                    **common, "zfs_object": record.zfs_object, "generation": record.generation,
                    "names": record.names,
                }  # fmt: skip


def _span(row: type[DirentRow] | type[VersionRow], *same: ColumnElement[bool]) -> Prepared:
    """Return what ends the span of the row that a new one takes the place of."""
    still = (row.chain == bindparam("chain"), row.until.is_(None), *same)
    return Prepared(update(row).where(*still).values(until=bindparam("since")))


def _insert(row: type[Base], columns: str) -> Prepared:
    return Prepared(insert(row), columns.split())


def _insert_packs() -> Prepared:
    # Manifests made anew name all packs they need, whoever else does.
    columns = ("key", "chain", "size", "sha256")
    values = select(*(bindparam(name, type_=PackRow.__table__.c[name].type) for name in columns))
    unknown = values.where(~exists().where(PackRow.key == bindparam("key")))
    return Prepared(insert(PackRow).from_select(columns, unknown))


def _among(row: _Numbered) -> Prepared:
    numbers = select(cast(JsonEach(bindparam("numbers")).table_valued("value").c.value, BigInteger))
    return Prepared(select(row.number).where(row.chain == bindparam("chain"), row.number.in_(numbers)))


_REFERENCES: dict[type[Record], dict[str, _Numbered]] = {
    VersionRecord: {"object": ObjectRow, "content": ContentRow},
    NameRecord: {"parent": ObjectRow, "child": ObjectRow},
}
_AMONG: dict[_Numbered, Prepared] = {ObjectRow: _among(ObjectRow), ContentRow: _among(ContentRow)}
_ENDED: dict[type[Record], Prepared] = {
    NameRecord: _span(
        DirentRow, DirentRow.parent == bindparam("parent"), DirentRow.name == bindparam("name")
    ),
    VersionRecord: _span(VersionRow, VersionRow.object == bindparam("object")),
    LinksRecord: Prepared(
        delete(LinkRow).where(
            LinkRow.chain == bindparam("chain"),
            LinkRow.zfs_object == bindparam("zfs_object"),
            LinkRow.generation == bindparam("generation"),
        )
    ),
}
_INSERTED: dict[type[Record], Prepared] = {
    PackRecord: _insert_packs(),
    ContentRecord: _insert(
        ContentRow,
        "chain number sequence size digest windowed pack offset length source source_path depth",
    ),
    ObjectRecord: _insert(ObjectRow, "chain number zfs_object generation base_path"),
    VersionRecord: _insert(
        VersionRow,
        "chain object since type mode uid gid mtime_ns size rdev target xattrs content",
    ),
    NameRecord: _insert(DirentRow, "chain parent name child since"),
    LinksRecord: _insert(LinkRow, "chain zfs_object generation name"),
}
