"""Op tables as bytes: a short head, then one zstd frame with a record per op and all digests behind them.

The encoder writes them, every reader of a stored content decodes them (layout: docs/delta-format.md).
Rule: a decoded table is consistent (lengths add up, ranges lie inside the old version) or it does not exist.
"""

from dataclasses import replace

from zdiffsync.errors import IntegrityError
from zdiffsync.format.delta_varint import MAX_UINT, Fields, put_int, put_uint
from zdiffsync.format.windows import DIGEST_SIZE, BlobRef, Op, OpKind, WindowTable
from zdiffsync.format.zstd import compress, decompress

# What one op may produce, take from the old version and have stored: bounds a reader's memory.
MAX_OP_LENGTH = 16 << 20
MAX_OLD_LENGTH = 32 << 20
MAX_PAYLOAD = 32 << 20

_VERSION = 1
_MAX_BODY = 1 << 30
_MAX_VARINT = 9
_MAX_PACK_NAME = 255
_DIGESTED = 0x08
_LEVEL = 9


class TableWriter:
    """Collects the ops of one content in order; `finish` encodes them.

    `old_size` is the old version's length in bytes, None for a content that stands alone.
    """

    def __init__(self, old_size: int | None) -> None:
        self._old_size = old_size
        self._ops = bytearray()
        self._digests = bytearray()
        self._packs: dict[str, int] = {}
        self._last: Op | None = None
        self._count = 0
        self._cursor = 0
        self._payload_end = 0
        self.size = 0
        self.depends_on_old = False

    def add(self, op: Op) -> None:
        """Append `op`; runs of zeros and of undigested copies grow into one."""
        self.size += op.length
        self.depends_on_old |= op.kind.uses_old
        last = self._last
        if last is None:
            self._last = op
        elif _continues(last, op):
            grown = last.length + op.length
            self._last = replace(last, length=grown, old_length=grown if op.old_length else 0)
        else:
            self._write(last)
            self._last = op

    def finish(self) -> bytes:
        """Return the encoded table."""
        if self._last is not None:
            self._write(self._last)
            self._last = None
        body = bytearray()
        put_uint(body, self.size)
        # A content none of whose ops reads the old version stands alone, whatever it was compared with.
        put_uint(body, self._old_size + 1 if self._old_size is not None and self.depends_on_old else 0)
        put_uint(body, len(self._packs))
        for pack in self._packs:
            name = pack.encode()
            put_uint(body, len(name))
            body += name
        put_uint(body, self._count)
        put_uint(body, len(self._digests))
        body += self._ops
        body += self._digests
        head = bytearray([_VERSION])
        put_uint(head, len(body))
        return bytes(head) + compress(bytes(body), _LEVEL)

    def _write(self, op: Op) -> None:
        out = self._ops
        out.append(op.kind | (_DIGESTED if op.digest is not None else 0))
        put_uint(out, op.length)
        if op.kind.uses_old:
            put_int(out, op.old_offset - self._cursor)
        if op.kind is OpKind.COPY:
            self._cursor = op.old_offset
        elif op.kind.uses_old:
            put_uint(out, op.old_length)
        self._cursor += op.length
        if op.payload is not None:
            put_uint(out, self._packs.setdefault(op.payload.pack, len(self._packs)))
            put_int(out, op.payload.offset - self._payload_end)
            put_uint(out, op.payload.length)
            self._payload_end = op.payload.offset + op.payload.length
        self._digests += op.digest or b""
        self._count += 1


def _continues(last: Op, op: Op) -> bool:
    if op.kind is not last.kind or op.digest is not None or last.digest is not None:
        return False
    return op.kind is OpKind.ZERO or op.old_offset == last.old_offset + last.old_length


def decode_windows(table: bytes) -> WindowTable:
    """Return the ops in `table`; IntegrityError, naming what is wrong, if any part is not as it should be."""
    if not table or table[0] != _VERSION:
        raise IntegrityError(f"op table is of version {table[0] if table else 'none'}, not {_VERSION}")
    head = table[1 : 2 + _MAX_VARINT]
    fields = Fields(head, "op table")
    length = fields.uint("body length", _MAX_BODY)
    body = decompress(table[1 + len(head) - fields.left :], length)
    if len(body) != length:
        raise IntegrityError(f"op table holds {len(body)} bytes instead of {length}")
    return _Reader(body).read()


class _Reader:
    def __init__(self, body: bytes) -> None:
        self._fields = Fields(body, "op table")
        self._cursor = 0
        self._payload_end = 0

    def read(self) -> WindowTable:
        fields = self._fields
        size = fields.uint("size")
        old_size = fields.uint("old size")
        packs = tuple(self._pack() for _ in range(fields.uint("number of packs", fields.left)))
        count = fields.uint("number of ops", fields.left)
        digests = Fields(fields.tail(fields.uint("size of digests", fields.left), "digests"), "op table")
        table = WindowTable(size, old_size - 1 if old_size else None, packs)
        for _ in range(count):
            self._op(table, digests)
        if table.made != size:
            raise IntegrityError(f"op table makes {table.made} bytes of a content of {size}")
        digests.end()
        fields.end()
        return table

    def _pack(self) -> str:
        name = self._fields.take(self._fields.uint("pack name", _MAX_PACK_NAME), "pack name")
        try:
            return name.decode()
        except UnicodeDecodeError as error:
            raise IntegrityError(f"op table names a pack {name!r} that is not UTF-8") from error

    def _op(self, table: WindowTable, digests: Fields) -> None:
        fields = self._fields
        head = fields.take(1, "op")[0]
        try:
            kind = OpKind(head & ~_DIGESTED)
        except ValueError as error:
            raise IntegrityError(f"op table has an op of unknown kind {head}") from error
        digested = bool(head & _DIGESTED)
        if digested != (kind is not OpKind.ZERO) and kind is not OpKind.COPY:
            raise IntegrityError(
                f"op table has a {kind.name} op {'with' if digested else 'without'} a digest"
            )
        left = table.size - table.made
        length = fields.uint("op length", min(left, MAX_OP_LENGTH) if digested else left)
        if not length:
            raise IntegrityError("op table has an op that makes nothing")
        old_offset, old_length = self._old(kind, length, table.old_size)
        payload, pack_number = self._payload(kind, table.packs)
        digest = digests.take(DIGEST_SIZE, "digests") if digested else None
        table.append(Op(kind, length, old_offset, old_length, digest, payload), pack_number)

    def _old(self, kind: OpKind, length: int, old_size: int | None) -> tuple[int, int]:
        if not kind.uses_old:
            self._cursor += length
            return 0, 0
        offset = self._cursor + self._fields.sint("old offset")
        taken = length
        self._cursor += length
        if kind is OpKind.COPY:
            self._cursor = offset + length
        else:
            taken = self._fields.uint("old length", MAX_OLD_LENGTH)
        if old_size is None or not 0 <= offset <= offset + taken <= old_size:
            raise IntegrityError(
                f"op table takes bytes {offset} to {offset + taken} of an old version of {old_size or 0}"
            )
        return offset, taken

    def _payload(self, kind: OpKind, packs: tuple[str, ...]) -> tuple[BlobRef | None, int]:
        if not kind.has_payload:
            return None, 0
        number = self._fields.uint("pack number")
        if number >= len(packs):
            raise IntegrityError(f"op table names pack {number} of {len(packs)}")
        offset = self._payload_end + self._fields.sint("payload offset")
        length = self._fields.uint("payload length", MAX_PAYLOAD)
        self._payload_end = offset + length
        if not length or not 0 <= offset <= MAX_UINT - length:
            raise IntegrityError(f"op table has a payload of {length} bytes at {offset}")
        return BlobRef(packs[number], offset, length), number
