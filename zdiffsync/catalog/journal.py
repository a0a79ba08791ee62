"""The journal: what an uncommitted run has already done, so that the next one need not do it again.

Written while packs are verified, read when a run is resumed, cleared by the commit.
Rule: names only packs that are verified on the remote.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import chain, islice
from typing import Any

from sqlalchemy import Engine, delete, insert, select, update

from zdiffsync.catalog.schema import JournalRow, RunRow
from zdiffsync.format.manifest import ContentRecord, PackRecord, decode, encode

_AT_ONCE = 2000  # rows


@dataclass(frozen=True, slots=True)
class UnfinishedRun:
    """A run between its snapshot and its commit; guids are ZFS snapshot guids."""

    dataset: str
    chain: str
    sequence: int
    snapshot: str
    guid: int
    parent_guid: int | None
    restic: str | None = None


class Journal:
    """The two journal tables, in a file of this host."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, run: UnfinishedRun) -> None:
        """Note a new run, forgetting an older one of the same dataset."""
        self.clear(run.dataset)
        values = asdict(run) | {
            "guid": str(run.guid),
            "parent_guid": None if run.parent_guid is None else str(run.parent_guid),
        }
        with self._engine.begin() as connection:
            connection.execute(insert(RunRow).values(values))

    def unfinished(self, dataset: str) -> UnfinishedRun | None:
        """Return the dataset's run that has not committed, if any."""
        with self._engine.connect() as connection:
            row = connection.execute(select(RunRow.__table__).where(RunRow.dataset == dataset)).first()
        if row is None:
            return None
        parent = None if row.parent_guid is None else int(row.parent_guid)
        return UnfinishedRun(
            row.dataset, row.chain, row.sequence, row.snapshot, int(row.guid), parent, row.restic
        )

    def under_way(self) -> set[tuple[str, int]]:
        """Return chain and sequence of the points that unfinished runs were making."""
        with self._engine.connect() as connection:
            return {
                (row.chain, row.sequence) for row in connection.execute(select(RunRow.chain, RunRow.sequence))
            }

    def snapshots(self) -> set[int]:
        """Return the guids of the snapshots that unfinished runs work from."""
        with self._engine.connect() as connection:
            return {int(guid) for guid in connection.execute(select(RunRow.guid)).scalars()}

    def base_done(self, dataset: str, restic: str) -> None:
        """Note that restic finished the base of the unfinished run."""
        with self._engine.begin() as connection:
            connection.execute(update(RunRow).where(RunRow.dataset == dataset).values(restic=restic))

    def packed(
        self, dataset: str, pack: PackRecord, contents: Iterable[tuple[tuple[int, int], ContentRecord]]
    ) -> None:
        """Note a verified pack and the contents, by (object, generation), that are now complete."""
        rows = chain(
            [_row(dataset, None, None, pack)], (_row(dataset, *key, content) for key, content in contents)
        )
        with self._engine.begin() as connection:
            while part := list(islice(rows, _AT_ONCE)):
                connection.execute(insert(JournalRow), part)

    def done(self, dataset: str) -> tuple[list[PackRecord], dict[tuple[int, int], ContentRecord]]:
        """Return the packs and contents noted for the dataset's unfinished run."""
        packs: list[PackRecord] = []
        contents: dict[tuple[int, int], ContentRecord] = {}
        with self._engine.connect() as connection:
            statement = select(JournalRow.zfs_object, JournalRow.generation, JournalRow.record)
            for row in connection.execute(statement.where(JournalRow.dataset == dataset)):
                match decode(row.record):
                    case PackRecord() as pack:
                        packs.append(pack)
                    case ContentRecord() as content:
                        contents[row.zfs_object, row.generation] = content
        return packs, contents

    def in_work(self) -> tuple[set[str], set[str]]:
        """Return the packs and restic snapshots of all unfinished runs, which no manifest names yet."""
        with self._engine.connect() as connection:
            records = connection.execute(select(JournalRow.record).where(JournalRow.zfs_object.is_(None)))
            packs = {record["pack"] for record in records.scalars()}
            bases = connection.execute(select(RunRow.restic).where(RunRow.restic.is_not(None))).scalars()
            return packs, {base for base in bases if base}

    def clear(self, dataset: str) -> None:
        """Forget the dataset's unfinished run: it has committed, or can't be resumed."""
        with self._engine.begin() as connection:
            connection.execute(delete(JournalRow).where(JournalRow.dataset == dataset))
            connection.execute(delete(RunRow).where(RunRow.dataset == dataset))


def _row(
    dataset: str, number: int | None, generation: int | None, record: PackRecord | ContentRecord
) -> dict[str, Any]:
    return {"dataset": dataset, "zfs_object": number, "generation": generation, "record": encode(record)}
