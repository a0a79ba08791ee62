"""Storing a content once more from a file that still has its bytes, under the number it has.

Under repair. Of a large content only what lay in the damaged packs is stored, where its table can still be
read; else all of it. Rule: what depends on the content reads the same bytes as before.
"""

import hashlib
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import replace

from zdiffsync.backup.packer import CountingSink, Packer
from zdiffsync.errors import IntegrityError, ObjectMissingError
from zdiffsync.external.files import FileSource
from zdiffsync.external.tree import SnapshotTree
from zdiffsync.format.delta_encode import encode_windows
from zdiffsync.format.delta_policy import DeltaPolicy
from zdiffsync.format.delta_pool import DeltaPool
from zdiffsync.format.delta_table import TableWriter, decode_windows
from zdiffsync.format.manifest import ContentRecord
from zdiffsync.format.windows import Op, OpKind, digest_of
from zdiffsync.format.zstd import compress
from zdiffsync.maintain.copies import LocalCopy
from zdiffsync.store.area import Area
from zdiffsync.store.names import pack_name

Progress = Callable[[int], None]


class Reencoder:
    """Stores contents anew through `packer`; `bad` are the packs that nothing is to be left in."""

    def __init__(
        self, area: Area, packer: Packer, pool: DeltaPool, policy: DeltaPolicy, bad: AbstractSet[str]
    ) -> None:
        self._area, self._packer, self._pool, self._policy = area, packer, pool, policy
        self._bad = bad

    def again(
        self, record: ContentRecord, copy: LocalCopy, *, whole: bool, progress: Progress
    ) -> ContentRecord | None:
        """Return the content as it is stored now, None when the copy has other bytes.

        `whole`: leave nothing of it as it is, since what it is a delta of is lost. Raises OSError when the
        copy cannot be read, RemoteError.
        """
        with SnapshotTree(copy.root) as tree, tree.opened(copy.path) as descriptor:
            local = FileSource(descriptor)
            if local.size != record.size:
                return None
            if not record.windowed:
                return self._small(record, local, progress)
            table = None if whole else self._table(record)
            if table is not None:
                return self._mended(record, table, local, progress)
            return self._large(record, local, progress)

    def _small(self, record: ContentRecord, local: FileSource, progress: Progress) -> ContentRecord | None:
        data = local.read(0, local.size)
        progress(len(data))
        if hashlib.sha256(data).hexdigest() != record.digest:
            return None
        blob = self._packer.put(compress(data))
        return replace(record, blob=blob, packs={blob.pack: blob.length})

    def _large(self, record: ContentRecord, local: FileSource, progress: Progress) -> ContentRecord:
        sink = CountingSink(self._packer)
        encoded = encode_windows(
            local, None, sink, extents=None, data_ranges=local.data_ranges(), pool=self._pool,
            policy=self._policy, progress=progress,
        )  # fmt: skip
        return _with_table(record, encoded.table, sink, depends=False)

    def _table(self, record: ContentRecord) -> bytes | None:
        blob = record.blob
        if blob is None or blob.pack in self._bad:
            return None
        try:
            table = self._area.read(pack_name(blob.pack), blob.offset, blob.length)
        except (IntegrityError, ObjectMissingError):
            return None
        return table if hashlib.sha256(table).hexdigest() == record.digest else None

    def _mended(
        self, record: ContentRecord, encoded: bytes, local: FileSource, progress: Progress
    ) -> ContentRecord | None:
        """Store those payloads again that are in bad packs, and the table."""
        table = decode_windows(encoded)
        sink, writer = CountingSink(self._packer), TableWriter(table.old_size)
        at = 0
        for op in table:
            made = op
            if op.payload is not None and op.payload.pack in self._bad:
                data = local.read(at, op.length)
                if digest_of(data) != op.digest:
                    return None
                made = Op(OpKind.LITERAL, op.length, digest=op.digest, payload=sink.put(compress(data)))
            elif op.payload is not None:
                sink.packs[op.payload.pack] = sink.packs.get(op.payload.pack, 0) + op.payload.length
            writer.add(made)
            at += op.length
            progress(op.length)
        return _with_table(record, writer.finish(), sink, depends=writer.depends_on_old)


def _with_table(record: ContentRecord, table: bytes, sink: CountingSink, *, depends: bool) -> ContentRecord:
    blob = sink.put(table)
    made = replace(record, blob=blob, packs=sink.packs, digest=hashlib.sha256(table).hexdigest())
    return made if depends else replace(made, source=None, source_path=None, depth=0)
