"""Reads a stored large content at any offset: the decoder of what `encode_windows` wrote.

Restore reads it front to back, the mount wherever it is asked, and a later delta's reader as its old version.
Rule: no byte leaves that was not checked against a digest, here or in the old version it was copied from.
"""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from zdiffsync.errors import IntegrityError
from zdiffsync.format.delta_patch import apply_patch
from zdiffsync.format.delta_table import decode_windows
from zdiffsync.format.windows import BlobRef, Op, OpKind, digest_of
from zdiffsync.format.zstd import decompress, decompress_prefixed
from zdiffsync.model.bytesource import ByteSource, Hint, read_with

# Windows kept decoded: reads come in order or close together, and a window is 4 MiB.
_KEPT_BYTES = 16 << 20


class WindowedReader:
    """A `ByteSource` over an op `table`, its `old` version and `fetch`, which returns stored payloads.

    Raises IntegrityError if the table is damaged or `old` is missing or not of the size it was made from.
    Usable from several threads.
    """

    def __init__(self, table: bytes, old: ByteSource | None, fetch: Callable[[BlobRef], bytes]) -> None:
        self.table = decode_windows(table)
        if self.table.old_size is not None and (old is None or old.size != self.table.old_size):
            there = "missing" if old is None else f"one of {old.size} bytes"
            raise IntegrityError(
                f"a delta needs the old version of {self.table.old_size} bytes, it is {there}"
            )
        self._old = old
        self._fetch = fetch
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._lock = Lock()

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self.table.size

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`; IntegrityError names the window that does not check out."""
        return self._read(offset, length, None)

    def read_hinted(self, offset: int, length: int, hint: Hint) -> bytes:
        """Like `read`; windows that the hint has right cost neither payload nor old version."""
        return self._read(offset, length, hint)

    def _read(self, offset: int, length: int, hint: Hint | None) -> bytes:
        parts: list[bytes] = []
        at, end = offset, offset + length
        number = self.table.find(offset)
        while at < end:
            op, start = self.table.op(number), self.table.start(number)
            stop = min(end, start + op.length)
            parts.append(self._range(number, op, at - start, stop - start, hint))
            at = stop
            number += 1
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _range(self, number: int, op: Op, start: int, end: int, hint: Hint | None) -> bytes:
        if op.kind is OpKind.ZERO:
            return bytes(end - start)
        if op.digest is None:
            if hint is not None:
                hint = hint.moved(self.table.start(number), op.old_offset, op.length)
            return self._old_bytes(op.old_offset + start, end - start, hint)
        whole = self._whole(number, op, hint)
        return whole if end - start == len(whole) else whole[start:end]

    def _whole(self, number: int, op: Op, hint: Hint | None) -> bytes:
        with self._lock:
            kept = self._kept.get(number)
            if kept is not None:
                self._kept.move_to_end(number)
                return kept
        made = None
        if hint is not None:
            made = hint.take(self.table.start(number), op.length, lambda data: digest_of(data) == op.digest)
        if made is None:
            made = self._checked(number, op)
        with self._lock:
            if number not in self._kept:
                self._kept[number] = made
                self._kept_bytes += len(made)
            while self._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        return made

    def _checked(self, number: int, op: Op) -> bytes:
        start = self.table.start(number)
        place = f"{op.kind.name.lower()} window {number} (bytes {start} to {start + op.length})"
        if op.payload is not None:
            place += f" in {op.payload.pack} at {op.payload.offset}"
        try:
            made = self._made(op)
        except IntegrityError as error:
            raise IntegrityError(f"{place}: {error}") from error
        if len(made) != op.length or digest_of(made) != op.digest:
            raise IntegrityError(f"{place} does not match its digest: it, or the old version, is damaged")
        return made

    def _made(self, op: Op) -> bytes:
        old = self._old_bytes(op.old_offset, op.old_length) if op.kind.uses_old else b""
        if op.payload is None:
            return old
        payload = self._fetch(op.payload)
        if op.kind is OpKind.LITERAL:
            return decompress(payload, op.length)
        if op.kind is OpKind.PREFIX:
            return decompress_prefixed(payload, old, op.length)
        return apply_patch(payload, old, op.length)

    def _old_bytes(self, offset: int, length: int, hint: Hint | None = None) -> bytes:
        # A decoded table that copies has an old size, and then there is an old version.
        assert self._old is not None
        return read_with(self._old, offset, length, hint)
