"""About how large a delta, and the compressed whole, would be: a few samples instead of the work itself.

Rule: cost is bounded by the number of samples, whatever the file's size.
"""

from collections.abc import Callable
from dataclasses import dataclass

from zdiffsync.format.align_plan import Piece, PieceKind, Plan
from zdiffsync.format.zstd import compress, compress_prefixed
from zdiffsync.model.bytesource import ByteSource

_LEVEL = 3


@dataclass(frozen=True, slots=True)
class _Sampling:
    """How many samples, how long, and how much of the old version is seen on both sides; lengths in bytes."""

    count: int
    length: int
    around: int


_COMPRESSED = _Sampling(32, 128 << 10, 512 << 10)
# A bsdiff costs a hundred times as much.
_PATCHED = _Sampling(3, 64 << 10, 64 << 10)


def whole_bytes(new: ByteSource, plan: Plan) -> float:
    """Return about how many bytes all data of `new` (what is not ZERO in `plan`) takes compressed."""

    def cost(_: Piece, start: int, end: int) -> int:
        return len(compress(new.read(start, end - start), _LEVEL))

    return _sampled(plan, {PieceKind.SAME, PieceKind.DIFFERS}, _COMPRESSED, cost)


def delta_bytes(new: ByteSource, old: ByteSource, plan: Plan) -> float:
    """Return about how many bytes the windows of `plan` take compressed with their old ranges as prefix."""

    def cost(piece: Piece, start: int, end: int) -> int:
        before = _before(old, piece, start, end, _COMPRESSED.around)
        return len(compress_prefixed(new.read(start, end - start), before, _LEVEL))

    return _sampled(plan, {PieceKind.DIFFERS}, _COMPRESSED, cost)


def patched_bytes(
    new: ByteSource, old: ByteSource, plan: Plan, bsdiff: Callable[[bytes, bytes], bytes | None]
) -> float:
    """Return about how many bytes the windows of `plan` take as patches made by `bsdiff` (of old, new)."""

    def cost(piece: Piece, start: int, end: int) -> int:
        before = _before(old, piece, start, end, _PATCHED.around)
        patch = bsdiff(before, new.read(start, end - start))
        return end - start if patch is None else len(patch)

    return _sampled(plan, {PieceKind.DIFFERS}, _PATCHED, cost)


def _before(old: ByteSource, piece: Piece, start: int, end: int, around: int) -> bytes:
    # What was added or removed on the way is taken to be spread evenly.
    stretch = (piece.old_end - around - piece.likely) / piece.length
    likely = piece.likely + int((start - piece.start) * min(max(stretch, 1.0), 2.0))
    low = min(max(piece.old, likely - around), piece.old_end)
    high = max(low, min(likely + end - start + around, piece.old_end))
    return old.read(low, high - low)


def _sampled(
    plan: Plan, kinds: set[PieceKind], sampling: _Sampling, cost: Callable[[Piece, int, int], int]
) -> float:
    """Return the sum of `cost` over the pieces of `kinds`, judged by samples spread evenly over them."""
    total = sum(piece.length for piece in plan if piece.kind in kinds)
    step = max(total // sampling.count, 1)
    passed = taken = found = 0
    due = step // 2
    for piece in plan:
        if piece.kind not in kinds:
            continue
        while due < passed + piece.length:
            # A piece shorter than a sample is taken whole: cut, it would lose its context.
            start = piece.start if piece.length <= sampling.length else piece.start + due - passed
            end = min(start + sampling.length, piece.end)
            taken += end - start
            found += cost(piece, start, end)
            due += max(step, end - start)
        passed += piece.length
    return total * found / taken if taken else 0.0
