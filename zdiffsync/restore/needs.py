"""What must be fetched to read contents whole: blobs of packs and chunks of the base.

Under planning. It follows the readers' way through op tables without reading bytes, so that what it
names is what they will ask for. Rule: a local file is taken to be right; where it turns out wrong the
readers fetch more than is named here.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from zdiffsync.bases.files import BaseFile, Chunk
from zdiffsync.format.delta_table import decode_windows
from zdiffsync.format.manifest import ContentRecord
from zdiffsync.format.windows import BlobRef, OpKind, WindowTable
from zdiffsync.restore.contents import ContentReader
from zdiffsync.store.object_cache import BLOCK


@dataclass(frozen=True, slots=True)
class _Read:
    """A range that is read, and the part of it that a local file can give instead."""

    start: int
    end: int
    local_start: int
    local_end: int

    def gives(self, start: int, end: int) -> bool:
        """Whether the local file has all of this range, so that its digest can be checked."""
        return self.local_start <= start and end <= self.local_end


@dataclass(slots=True)
class Needs:
    """What a restore fetches: blobs by pack in the order of their first use, and blocks of the base's packs.

    `tables` are the bytes of the op tables, which planning itself has fetched.
    """

    blobs: dict[str, dict[BlobRef, None]] = field(default_factory=dict)
    tables: int = 0
    _blocks: dict[str, int] = field(default_factory=dict)  # a bit a block, for millions of chunks
    _tables: set[BlobRef] = field(default_factory=set)

    def content(
        self, reader: ContentReader, number: int, base: Callable[[bytes], BaseFile], *, local: bool
    ) -> None:
        """Add what reading a stored content takes; `local`: but for what a local file of it can give.

        `base` opens files of the base by base path. Raises IntegrityError, ObjectMissingError, RemoteError.
        """
        records = reader.records(number)
        size = records[0].size
        reads = [_Read(0, size, 0, size if local else 0)] if size else []
        for record in records:
            if not reads:
                return
            if not record.windowed:
                self._whole(record, reads)
                return
            reads = self._windows(record, reader, reads)
        if reads and records[-1].source_path is not None:
            self.file(base(records[-1].source_path), reads)

    def file(self, source: BaseFile, reads: Sequence[_Read] | None = None) -> None:
        """Add the chunks of a base file that are read; None: all of them."""
        for chunk in source.chunks if reads is None else _read_chunks(source.chunks, reads):
            first, last = chunk.start // BLOCK, (chunk.start + chunk.stored - 1) // BLOCK
            bits = ((1 << (last - first + 1)) - 1) << first
            self._blocks[chunk.pack] = self._blocks.get(chunk.pack, 0) | bits

    def take_blocks(self, other: Self) -> None:
        """Add the blocks of the base that `other` names."""
        for pack, bits in other._blocks.items():
            self._blocks[pack] = self._blocks.get(pack, 0) | bits

    @property
    def base_bytes(self) -> int:
        """Bytes to fetch of the base: the cache reads by blocks."""
        return BLOCK * sum(bits.bit_count() for bits in self._blocks.values())

    @property
    def base_packs(self) -> int:
        """How many packs of the base they lie in."""
        return len(self._blocks)

    def _blob(self, blob: BlobRef) -> None:
        self.blobs.setdefault(blob.pack, {})[blob] = None

    def _whole(self, record: ContentRecord, reads: Sequence[_Read]) -> None:
        if not all(read.gives(0, record.size) for read in reads):
            self._blob(record.location)

    def _windows(self, record: ContentRecord, reader: ContentReader, reads: Sequence[_Read]) -> list[_Read]:
        """Add the payloads these reads take; return what they read of the old version."""
        if record.location not in self._tables:
            self._tables.add(record.location)
            self.tables += record.location.length
        table = decode_windows(reader.table(record))
        below: dict[_Read, None] = {}
        for read in reads:
            self._ops(table, read, below)
        return list(below)

    def _ops(self, table: WindowTable, read: _Read, below: dict[_Read, None]) -> None:
        number, at = table.find(read.start), read.start
        while at < read.end:
            op, start = table.op(number), table.start(number)
            end = start + op.length
            if op.kind is not OpKind.ZERO and op.digest is None:
                shift = op.old_offset - start
                stop = min(end, read.end)
                local = (max(read.local_start, start) + shift, min(read.local_end, end) + shift)
                below[_Read(at + shift, stop + shift, *local)] = None
            elif op.kind is not OpKind.ZERO and not read.gives(start, end):
                if op.payload is not None:
                    self._blob(op.payload)
                if op.kind.uses_old:
                    below[_Read(op.old_offset, op.old_offset + op.old_length, 0, 0)] = None
            at = end
            number += 1


def _read_chunks(chunks: Sequence[Chunk], reads: Iterable[_Read]) -> Iterator[Chunk]:
    for read in reads:
        for number in range(
            bisect_right(chunks, read.start, key=lambda chunk: chunk.offset) - 1, len(chunks)
        ):
            chunk = chunks[number]
            if chunk.offset >= read.end:
                break
            if not read.gives(chunk.offset, chunk.offset + chunk.length):
                yield chunk
