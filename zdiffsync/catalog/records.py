"""A manifest's records as the catalog knows them, for a manifest that is damaged or gone.

Used by repair. Rule: what is given makes the same catalog again, together with the other manifests of the
chain.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from sqlalchemy import Connection, select

from zdiffsync.catalog.schema import ContentRow, DirentRow, LinkRow, ObjectRow, VersionRow
from zdiffsync.catalog.upkeep import Upkeep
from zdiffsync.catalog.values import row_entry
from zdiffsync.format.manifest import LinksRecord, NameRecord, ObjectRecord, Record, VersionRecord


def manifest_records(
    connection: Connection, chain: int, sequence: int, objects_elsewhere: AbstractSet[int]
) -> Iterator[Record]:
    """Yield the records of the point `sequence` of a chain (its id here).

    In which manifest an object stands the catalog does not know: all but `objects_elsewhere` stand here. The
    ledger is as it is by the chain's last point.
    """
    upkeep = Upkeep(connection)
    columns = (ObjectRow.number, ObjectRow.zfs_object, ObjectRow.generation, ObjectRow.base_path)
    for known in connection.execute(select(*columns).where(ObjectRow.chain == chain)):
        if known.number not in objects_elsewhere:
            yield ObjectRecord(known.number, known.zfs_object, known.generation, known.base_path)
    numbers = select(ContentRow.number).where(ContentRow.chain == chain, ContentRow.sequence == sequence)
    packs: set[str] = set()
    for held in upkeep.contents(chain, connection.execute(numbers).scalars().all()):
        packs.update(held.record.packs)
        yield held.record
    versions = select(VersionRow.__table__)
    for row in connection.execute(versions.where(VersionRow.chain == chain, VersionRow.since == sequence)):
        yield VersionRecord(row.object, row_entry(row), row.content)  # type: ignore[arg-type]
    names = select(DirentRow.parent, DirentRow.name, DirentRow.child)
    for name in connection.execute(names.where(DirentRow.chain == chain, DirentRow.since == sequence)):
        yield NameRecord(name.parent, name.name, name.child)
    yield from _ledger(connection, chain)
    for key in sorted(packs):
        if (pack := upkeep.pack(key)) is not None:
            yield pack


def _ledger(connection: Connection, chain: int) -> Iterator[LinksRecord]:
    found: dict[tuple[int, int], list[bytes]] = {}
    links = select(LinkRow.zfs_object, LinkRow.generation, LinkRow.name).where(LinkRow.chain == chain)
    for row in connection.execute(links):
        found.setdefault((row.zfs_object, row.generation), []).append(row.name)
    for (zfs_object, generation), paths in found.items():
        yield LinksRecord(zfs_object, generation, tuple(sorted(paths)))
