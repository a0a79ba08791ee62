"""Writing packs anew without what nothing needs, and the manifests that name them.

Part of prune. Rule: a pack is copied from only after its digest was verified; manifests are written anew
after their packs are there, the newest first, so that at any moment each reads as before.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from zdiffsync.backup.packer import CountingSink, Packer
from zdiffsync.backup.session import Session
from zdiffsync.backup.sync import sync_catalog
from zdiffsync.catalog.upkeep import PackUse, Upkeep
from zdiffsync.errors import IntegrityError
from zdiffsync.format.delta_table import TableWriter, decode_windows
from zdiffsync.format.manifest import ContentRecord, PackRecord
from zdiffsync.format.windows import BlobRef
from zdiffsync.maintain.merge import Alterations, write_merged
from zdiffsync.model.progress import Progress
from zdiffsync.store.area import Area
from zdiffsync.store.names import pack_name

_BLOCK = 1 << 20


def repack(session: Session, uses: Sequence[PackUse]) -> tuple[int, tuple[str, ...]]:
    """Move what is needed of these packs into new ones; return the bytes written and the damaged packs.

    What needs a damaged one stays as it is. Raises RemoteError.
    """
    written = 0
    damaged: list[str] = []
    chains = {point.chain: point.chain_id for point in session.catalog.points()}
    with session.progress("rewriting", sum(use.size for use in uses)) as bar:
        for chain in sorted({use.chain for use in uses}):
            mine = [use for use in uses if use.chain == chain]
            with session.staging() as stage, session.catalog.upkeep() as upkeep:
                work = _Chain(session, stage, upkeep, chains[chain], bar)
                work.move({use.pack for use in mine})
                written += work.written
                damaged += sorted(work.damaged)
            sync_catalog(session.store.data, session.catalog, session.progress)
    return written, tuple(damaged)


class _Chain:
    """The work on one chain."""

    def __init__(self, session: Session, stage: Path, upkeep: Upkeep, chain_id: int, bar: Progress) -> None:
        self._session, self._stage, self._upkeep, self._chain_id = session, stage, upkeep, chain_id
        self._area = session.store.data
        self._made: dict[str, PackRecord] = {}
        self._replaced: dict[int, ContentRecord] = {}
        self._packs = _VerifiedPacks(self._area, stage / "old", session.settings.staging_space, bar)
        self.written = 0
        self.damaged: set[str] = set()

    def move(self, old: set[str]) -> None:
        """Move all contents out of these packs."""
        sequences: set[int] = set()
        with Packer(self._stage, self._session.settings.pack_size, self._upload) as packer:
            for held in self._upkeep.contents_in(self._chain_id, sorted(old)):
                try:
                    self._replaced[held.record.number] = self._copied(held.record, old, packer)
                    sequences.add(held.sequence)
                except _DamagedPackError as error:
                    self.damaged.add(error.pack)
            packer.flush()
        self._rewrite_manifests(sequences)

    def _copied(self, record: ContentRecord, old: set[str], packer: Packer) -> ContentRecord:
        """Copy what a content has in the old packs; its table goes along if it is to change."""
        sink = CountingSink(packer)
        blob = record.location
        if not record.windowed:
            return replace(record, blob=sink.put(self._bytes(blob)), packs=sink.packs)
        table = decode_windows(self._table(record))
        writer = TableWriter(table.old_size)
        for op in table:
            payload = op.payload
            if payload is not None and payload.pack in old:
                payload = sink.put(self._bytes(payload))
            elif payload is not None:
                sink.packs[payload.pack] = sink.packs.get(payload.pack, 0) + payload.length
            writer.add(replace(op, payload=payload))
        encoded = writer.finish()
        return replace(
            record, blob=sink.put(encoded), digest=hashlib.sha256(encoded).hexdigest(), packs=sink.packs
        )

    def _table(self, record: ContentRecord) -> bytes:
        blob = record.location
        table = self._area.read(pack_name(blob.pack), blob.offset, blob.length)
        if hashlib.sha256(table).hexdigest() != record.digest:
            raise _DamagedPackError(blob.pack)
        return table

    def _bytes(self, blob: BlobRef) -> bytes:
        record = self._upkeep.pack(blob.pack)
        assert record is not None, "packs come from the catalog"
        with self._packs.path(record).open("rb") as file:
            file.seek(blob.offset)
            return file.read(blob.length)

    def _upload(self, pack: PackRecord) -> None:
        name = pack_name(pack.pack)
        self._area.upload(self._stage, [name], lambda _sent: None)
        (self._stage / name).unlink()
        self._made[pack.pack] = pack
        self.written += pack.size

    def _rewrite_manifests(self, sequences: set[int]) -> None:
        alterations = Alterations(
            lambda key: self._made.get(key) or self._upkeep.pack(key), replaced=self._replaced
        )
        points = {p.sequence: p for p in self._session.catalog.points() if p.chain_id == self._chain_id}
        for sequence in sorted(sequences, reverse=True):
            name = points[sequence].manifest
            write_merged(self._area, self._stage, [name], alterations)
            self._area.delete([str(name)])


class _DamagedPackError(IntegrityError):
    """A pack is not what its manifest says."""

    def __init__(self, pack: str) -> None:
        super().__init__(f"pack {pack} is damaged; run zdiffsync check")
        self.pack = pack


class _VerifiedPacks:
    """Packs brought whole and held against their digest, at most `space` bytes of them at a time."""

    def __init__(self, area: Area, folder: Path, space: int, bar: Progress) -> None:
        self._area, self._folder, self._space, self._bar = area, folder, space, bar
        self._here: OrderedDict[str, int] = OrderedDict()
        self._bad: set[str] = set()
        folder.mkdir()

    def path(self, record: PackRecord) -> Path:
        path = self._folder / record.pack
        if record.pack in self._bad:
            raise _DamagedPackError(record.pack)
        if record.pack in self._here:
            self._here.move_to_end(record.pack)
            return path
        while self._here and sum(self._here.values()) + record.size > self._space:
            gone, _ = self._here.popitem(last=False)
            (self._folder / gone).unlink()
        self._area.download(pack_name(record.pack), path, self._bar.advance)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != record.sha256:
            self._bad.add(record.pack)
            path.unlink()
            raise _DamagedPackError(record.pack)
        self._here[record.pack] = record.size
        return path
