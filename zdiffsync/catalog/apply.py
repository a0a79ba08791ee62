"""Taking a manifest into the catalog: the only way points get into it.

Called after the manifest's upload by the run that made it, and for manifests found on the remote
that the catalog lacks. Rule: applied twice a manifest changes nothing, and one that refers to what no
manifest has introduced is refused; a chain whose manifests were made anew is emptied and applied again in
one transaction.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from zdiffsync.catalog.schema import (
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
from zdiffsync.catalog.view import parts
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
    if connection.execute(select(PointRow.id).where(PointRow.key == header.point)).first():
        return
    chain = _chain_id(connection, header)
    writer = _Writer(connection, chain, header)
    try:
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
    except CatalogError as error:
        if isinstance(error.__cause__, sqlite3.IntegrityError):
            raise IntegrityError(
                f"the manifest of point {header.point} contradicts itself or another: {error.__cause__}"
            ) from error
        raise
    raise CatalogError(f"manifest of point {header.point} has no end")


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
        values = {
            "key": header.chain, "dataset": header.dataset, "dataset_guid": str(header.dataset_guid),
            "restic": header.restic, "base_ns": header.base_ns, "excludes": header.excludes,
        }  # fmt: skip
        key = connection.execute(insert(ChainRow).values(values)).inserted_primary_key
        assert key is not None, "SQLite returns the new row's id"
        return int(key[0])
    before = select(PointRow.id).where(PointRow.chain == found, PointRow.sequence == header.first - 1)
    if found is None or connection.execute(before).first() is None:
        raise ChainError(
            f"point {header.first} of chain {header.chain} has no predecessor in the catalog; "
            "delete the catalog, it is made again from the remote"
        )
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
        if kind is LinksRecord:
            self._replace_links(rows)
        elif kind is PackRecord:  # manifests made anew name all packs they need, whoever else does
            self._connection.execute(insert(PackRow).prefix_with("OR IGNORE"), rows)
        else:
            self._end_earlier(kind, rows)
            self._connection.execute(insert(_TABLES[kind]), rows)
        if kind is ContentRecord and self._portions:
            self._connection.execute(insert(PortionRow), self._portions)
            self._portions.clear()

    def _missing(self, table: _Numbered, numbers: set[int]) -> set[int]:
        """Return those of the numbers that the chain does not have, or not yet."""
        missing = set(numbers)
        for part in parts(numbers):
            found = select(table.number).where(table.chain == self._chain, table.number.in_(part))
            missing.difference_update(self._connection.execute(found).scalars())
        return missing

    def _row(self, record: Record) -> dict[str, Any]:
        common = {"chain": self._chain}
        span = {**common, "since": self._sequence, "until": None}
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
                return {
                    **common, "o": record.zfs_object, "g": record.generation, "names": record.names,
                }  # fmt: skip

    def _end_earlier(self, kind: type[Record], rows: list[dict[str, Any]]) -> None:
        """Close the span of the rows that the new ones take the place of."""
        if kind is NameRecord:
            statement = update(DirentRow).where(
                DirentRow.chain == self._chain,
                DirentRow.parent == bindparam("p"),
                DirentRow.name == bindparam("n"),
                DirentRow.until.is_(None),
            )
            keys = [{"p": row["parent"], "n": row["name"]} for row in rows]
        elif kind is VersionRecord:
            statement = update(VersionRow).where(
                VersionRow.chain == self._chain,
                VersionRow.object == bindparam("o"),
                VersionRow.until.is_(None),
            )
            keys = [{"o": row["object"]} for row in rows]
        else:
            return
        self._connection.execute(statement.values(until=self._sequence), keys)

    def _replace_links(self, links: list[dict[str, Any]]) -> None:
        gone = delete(LinkRow).where(
            LinkRow.chain == self._chain,
            LinkRow.zfs_object == bindparam("o"),
            LinkRow.generation == bindparam("g"),
        )
        self._connection.execute(gone, [{"o": row["o"], "g": row["g"]} for row in links])
        rows = [
            {"chain": self._chain, "zfs_object": row["o"], "generation": row["g"], "name": name}
            for row in links
            for name in row["names"]
        ]
        if rows:
            self._connection.execute(insert(LinkRow), rows)


_TABLES: dict[type[Record], Any] = {
    ContentRecord: ContentRow,
    ObjectRecord: ObjectRow,
    VersionRecord: VersionRow,
    NameRecord: DirentRow,
}
_REFERENCES: dict[type[Record], dict[str, _Numbered]] = {
    VersionRecord: {"object": ObjectRow, "content": ContentRow},
    NameRecord: {"parent": ObjectRow, "child": ObjectRow},
}
