"""Whether what the manifests of a chain say fits together: every reference leads somewhere.

Used by check, on the catalog that was filled from them. Rule: one statement a relation, whatever the
catalog's size.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Executable, Select, and_, null, or_, select
from sqlalchemy.orm import aliased

from zdiffsync.catalog.holders import ContentKey
from zdiffsync.catalog.schema import (
    ChainRow,
    ContentRow,
    DirentRow,
    ObjectRow,
    PackRow,
    PortionRow,
    VersionRow,
)
from zdiffsync.format.windows import PACK_MAGIC


@dataclass(frozen=True, slots=True)
class Breach:
    """A relation that does not hold: in which chain, what it is, and the contents that suffer from it."""

    chain: str
    what: str
    count: int
    contents: frozenset[ContentKey]


def breaches(connection: Connection) -> Iterator[Breach]:
    """Yield every relation that does not hold, once a chain."""
    for what, statement in _statements():
        found: dict[str, list[tuple[int, int | None]]] = {}
        for key, chain, content in connection.execute(statement):
            found.setdefault(key, []).append((chain, content))
        for key, rows in found.items():
            contents = frozenset(ContentKey(chain, content) for chain, content in rows if content)
            yield Breach(key, what, len(rows), contents)


def _statements() -> Iterator[tuple[str, Executable]]:
    source, known = aliased(ContentRow), aliased(ContentRow)
    stored = _of(ContentRow).outerjoin(PackRow, PackRow.key == ContentRow.pack)
    yield (
        "contents lie in packs that no manifest describes",
        stored.where(ContentRow.pack.is_not(None), PackRow.key.is_(None)),
    )
    yield (
        "contents lie outside of their packs",
        stored.where(
            ContentRow.pack.is_not(None),
            or_(
                ContentRow.offset < len(PACK_MAGIC),
                ContentRow.length < 1,
                ContentRow.offset + ContentRow.length > PackRow.size,
            ),
        ),
    )
    yield (
        "contents have bytes in packs that no manifest describes",
        select(ChainRow.key, ChainRow.id, PortionRow.content)
        .join(PortionRow, PortionRow.chain == ChainRow.id)
        .outerjoin(PackRow, PackRow.key == PortionRow.pack)
        .where(PackRow.key.is_(None)),
    )
    deltas = _of(ContentRow).outerjoin(
        source, and_(source.chain == ContentRow.chain, source.number == ContentRow.source)
    )
    yield (
        "contents are deltas of contents that there are not",
        deltas.where(ContentRow.source > 0, source.number.is_(None)),
    )
    # Depths that rise from the source to the delta leave no room for a circle.
    yield (
        "contents are deltas of contents that may be deltas of them",
        deltas.where(ContentRow.depth <= source.depth),
    )
    yield (
        "contents are deltas of the base, but of no file in it",
        _of(ContentRow).where(
            ContentRow.source == 0, or_(ContentRow.source_path.is_(None), ChainRow.restic.is_(None))
        ),
    )
    versions = (
        select(ChainRow.key, ChainRow.id, VersionRow.content)
        .join(VersionRow, VersionRow.chain == ChainRow.id)
        .outerjoin(ObjectRow, and_(ObjectRow.chain == ChainRow.id, ObjectRow.number == VersionRow.object))
    )
    yield "versions are of objects that there are not", versions.where(ObjectRow.number.is_(None))
    yield (
        "versions have the content of the base, but no file in it",
        versions.where(
            VersionRow.content == 0, or_(ObjectRow.base_path.is_(None), ChainRow.restic.is_(None))
        ),
    )
    yield (
        "versions have contents that there are not",
        versions.outerjoin(known, and_(known.chain == ChainRow.id, known.number == VersionRow.content)).where(
            VersionRow.content > 0, known.number.is_(None)
        ),
    )
    for column, what in ((DirentRow.parent, "stand in directories"), (DirentRow.child, "lead to objects")):
        yield (
            f"names {what} that there are not",
            select(ChainRow.key, ChainRow.id, null())
            .join(DirentRow, DirentRow.chain == ChainRow.id)
            .outerjoin(ObjectRow, and_(ObjectRow.chain == ChainRow.id, ObjectRow.number == column))
            .where(column.is_not(None), ObjectRow.number.is_(None)),
        )


def _of(row: type[ContentRow]) -> Select[str, int, int]:
    return select(ChainRow.key, ChainRow.id, row.number).join(row, row.chain == ChainRow.id)
