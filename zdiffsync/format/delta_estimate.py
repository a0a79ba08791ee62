"""About how large a delta, and the compressed whole, would be: a few samples instead of the work itself.

Rule: cost is bounded by the number of samples, whatever the file's size.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from zdiffsync.format.align_plan import Piece, PieceKind, Plan
from zdiffsync.format.delta_pool import DeltaPool
from zdiffsync.format.zstd import QUICKEST, compress, compress_prefixed
from zdiffsync.model.bytesource import ByteSource

_LEVEL = QUICKEST


@dataclass(frozen=True, slots=True)
class _Sampling:
    """How many samples, how long, and how much of the old version is seen on both sides; lengths in bytes."""

    count: int
    length: int
    around: int


_COMPRESSED = _Sampling(32, 128 << 10, 512 << 10)
# A bsdiff costs a hundred times as much.
_PATCHED = _Sampling(3, 64 << 10, 64 << 10)


def whole_bytes(new: ByteSource, plan: Plan, pool: DeltaPool) -> float:
    """Return about how many bytes all data of `new` (what is not ZERO in `plan`) takes compressed."""

    def packed(_: Piece, start: int, end: int) -> Future[bytes]:
        return pool.submit(compress, new.read(start, end - start), _LEVEL)

    return _sampled(plan, {PieceKind.SAME, PieceKind.DIFFERS}, _COMPRESSED, packed)


def delta_bytes(new: ByteSource, old: ByteSource, plan: Plan, pool: DeltaPool) -> float:
    """Return about how many bytes the windows of `plan` take compressed with their old ranges as prefix."""

    def packed(piece: Piece, start: int, end: int) -> Future[bytes]:
        before = _before(old, piece, start, end, _COMPRESSED.around)
        return pool.submit(compress_prefixed, new.read(start, end - start), before, _LEVEL)

    return _sampled(plan, {PieceKind.DIFFERS}, _COMPRESSED, packed)


def patched_bytes(
    new: ByteSource,
    old: ByteSource,
    plan: Plan,
    pool: DeltaPool,
    bsdiff: Callable[[bytes, bytes], bytes | None],
) -> float:
    """Return about how many bytes the windows of `plan` take as patches made by `bsdiff` (of old, new)."""

    def patched(before: bytes, data: bytes) -> bytes:
        return bsdiff(before, data) or data

    def packed(piece: Piece, start: int, end: int) -> Future[bytes]:
        before = _before(old, piece, start, end, _PATCHED.around)
        return pool.submit(patched, before, new.read(start, end - start))

    return _sampled(plan, {PieceKind.DIFFERS}, _PATCHED, packed)


def _before(old: ByteSource, piece: Piece, start: int, end: int, around: int) -> bytes:
    # What was added or removed on the way is taken to be spread evenly.
    stretch = (piece.old_end - around - piece.likely) / piece.length
    likely = piece.likely + int((start - piece.start) * min(max(stretch, 1.0), 2.0))
    low = min(max(piece.old, likely - around), piece.old_end)
    high = max(low, min(likely + end - start + around, piece.old_end))
    return old.read(low, high - low)


def _sampled(
    plan: Plan,
    kinds: set[PieceKind],
    sampling: _Sampling,
    packed: Callable[[Piece, int, int], Future[bytes]],
) -> float:
    """Return the bytes all pieces of `kinds` take `packed`, judged by samples spread evenly over them."""
    total = sum(piece.length for piece in plan if piece.kind in kinds)
    step = max(total // sampling.count, 1)
    passed = taken = 0
    samples: list[Future[bytes]] = []
    due = step // 2
    for piece in plan:
        if piece.kind not in kinds:
            continue
        while due < passed + piece.length:
            # A piece shorter than a sample is taken whole: cut, it would lose its context.
            start = piece.start if piece.length <= sampling.length else piece.start + due - passed
            end = min(start + sampling.length, piece.end)
            taken += end - start
            samples.append(packed(piece, start, end))
            due += max(step, end - start)
        passed += piece.length
    found = sum(len(sample.result()) for sample in samples)
    return total * found / taken if taken else 0.0
