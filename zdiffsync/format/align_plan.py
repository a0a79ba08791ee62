"""A plan: which ranges of the new version are zeros, lie in the old version, or differ from it.

The scan makes one, the alignment refines it, the encoder turns it into ops.
Rule: pieces cover the new version from first byte to last, in order, without gap or overlap.
"""

from array import array
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from enum import IntEnum

from zdiffsync.format.windows import DIGEST_SIZE

_MOST_AWAITED = 4


class PieceKind(IntEnum):
    """What is known about a range of the new version."""

    ZERO = 0
    SAME = 1
    DIFFERS = 2


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes `start` to `end` of the new version.

    SAME: they are those from `old` to `old_end`; `digest` is theirs (it may still be under way), or None
    where nothing was read.
    DIFFERS: what they came from lies between `old` and `old_end`, the first of them most likely at `likely`.
    """

    kind: PieceKind
    start: int
    end: int
    old: int = 0
    old_end: int = 0
    likely: int = 0
    digest: bytes | Future[bytes] | None = None

    @property
    def length(self) -> int:
        """Bytes of the new version."""
        return self.end - self.start


class Plan:
    """Pieces in columns: a terabyte with a million scattered changes must not cost a gigabyte."""

    def __init__(self) -> None:
        self._numbers = array("Q")
        self._digests = bytearray()
        self._awaited: deque[tuple[int, Future[bytes]]] = deque()

    def add(self, piece: Piece) -> None:
        """Append `piece`; waits where too many digests are under way, whose bytes are in memory."""
        kind = piece.kind << 1 | (piece.digest is not None)
        self._numbers.extend((kind, piece.start, piece.end, piece.old, piece.old_end, piece.likely))
        if isinstance(piece.digest, Future):
            self._awaited.append((len(self._digests), piece.digest))
            self._digests += bytes(DIGEST_SIZE)
            self._await(_MOST_AWAITED)
        else:
            self._digests += piece.digest or bytes(DIGEST_SIZE)

    def _await(self, left: int) -> None:
        while len(self._awaited) > left:
            at, digest = self._awaited.popleft()
            self._digests[at : at + DIGEST_SIZE] = digest.result()

    def __iter__(self) -> Iterator[Piece]:
        self._await(0)
        columns = iter(self._numbers)
        rows = zip(columns, columns, columns, columns, columns, columns, strict=True)
        for number, (kind, start, end, old, old_end, likely) in enumerate(rows):
            at = number * DIGEST_SIZE
            digest = bytes(self._digests[at : at + DIGEST_SIZE]) if kind & 1 else None
            yield Piece(PieceKind(kind >> 1), start, end, old, old_end, likely, digest)

    def differing(self) -> Iterator[Piece]:
        """Yield the pieces that differ."""
        return (piece for piece in self if piece.kind is PieceKind.DIFFERS)
