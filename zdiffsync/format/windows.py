"""Op tables: how a large content is put together from zeros, its old version and stored payloads.

The encoder makes ops, `delta_table` writes and reads them as bytes, `WindowedReader` acts on them.
Rule: values only; what makes a table valid is checked where it is decoded.
"""

import hashlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

PACK_MAGIC = b"zdspack\x01"  # begins every pack, so that a stray one can be told from noise
DIGEST_SIZE = 16
_NO_DIGEST = bytes(DIGEST_SIZE)
_DIGESTED = 0x80


class OpKind(IntEnum):
    """How an op makes its bytes (docs/delta-format.md)."""

    ZERO = 0
    COPY = 1
    PATCH = 2
    PREFIX = 3
    LITERAL = 4

    @property
    def uses_old(self) -> bool:
        """Whether such an op reads the old version."""
        return self in {OpKind.COPY, OpKind.PATCH, OpKind.PREFIX}

    @property
    def has_payload(self) -> bool:
        """Whether such an op has stored bytes."""
        return self in {OpKind.PATCH, OpKind.PREFIX, OpKind.LITERAL}


@dataclass(frozen=True, slots=True)
class BlobRef:
    """Where stored bytes lie: the object's name (at most 255 bytes of UTF-8), offset and length."""

    pack: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Op:
    """The next `length` bytes of the content.

    `old_offset` and `old_length` name the range of the old version it is made from (bytes; 0 where none
    is), `digest` is `digest_of` its output (None for zeros and for copies whose equality was known without
    reading), `payload` its stored bytes (None for zeros and copies).
    """

    kind: OpKind
    length: int
    old_offset: int = 0
    old_length: int = 0
    digest: bytes | None = None
    payload: BlobRef | None = None


def digest_of(data: bytes) -> bytes:
    """Return the digest an op keeps of its output: SHA-256 cut to 16 bytes."""
    return hashlib.sha256(data).digest()[:DIGEST_SIZE]


class WindowTable:
    """The ops of one content, kept in columns: millions of them must fit in memory.

    `size` and `old_size` are in bytes (`old_size` None: the content stands alone); `packs` are the names
    of all objects its payloads lie in.
    """

    def __init__(self, size: int, old_size: int | None, packs: tuple[str, ...]) -> None:
        self.size = size
        self.old_size = old_size
        self.packs = packs
        self._kinds = bytearray()
        self._ends = array("Q")
        self._olds = array("Q")
        self._old_lengths = array("Q")
        self._digests = bytearray()
        self._pack_numbers = array("L")
        self._payloads = array("Q")
        self._payload_lengths = array("Q")

    def __len__(self) -> int:
        return len(self._kinds)

    def __iter__(self) -> Iterator[Op]:
        return map(self.op, range(len(self)))

    def append(self, op: Op, pack_number: int = 0) -> None:
        """Add the next op; `pack_number` is its payload's place in `packs`."""
        self._kinds.append(op.kind | (_DIGESTED if op.digest is not None else 0))
        self._ends.append(self.made + op.length)
        self._olds.append(op.old_offset)
        self._old_lengths.append(op.old_length)
        self._digests += op.digest or _NO_DIGEST
        self._pack_numbers.append(pack_number)
        self._payloads.append(op.payload.offset if op.payload else 0)
        self._payload_lengths.append(op.payload.length if op.payload else 0)

    @property
    def made(self) -> int:
        """Bytes the ops added so far produce."""
        return self._ends[-1] if self._ends else 0

    def find(self, offset: int) -> int:
        """Return the number of the op that makes the byte at `offset` (0 <= offset < size)."""
        return bisect_right(self._ends, offset)

    def start(self, number: int) -> int:
        """Return the offset in bytes where op `number` begins."""
        return self._ends[number - 1] if number else 0

    def op(self, number: int) -> Op:
        """Return op `number`."""
        kind = OpKind(self._kinds[number] & ~_DIGESTED)
        payload = None
        if kind.has_payload:
            pack = self.packs[self._pack_numbers[number]]
            payload = BlobRef(pack, self._payloads[number], self._payload_lengths[number])
        digest = None
        if self._kinds[number] & _DIGESTED:
            digest = bytes(self._digests[number * DIGEST_SIZE : (number + 1) * DIGEST_SIZE])
        length = self._ends[number] - self.start(number)
        return Op(kind, length, self._olds[number], self._old_lengths[number], digest, payload)
