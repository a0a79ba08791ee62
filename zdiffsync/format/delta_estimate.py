"""About how large a delta, and the compressed whole, would be: a few samples instead of the work itself.

Rule: cost is bounded by the number of samples, whatever the file's size.
"""

from collections.abc import Callable

from zdiffsync.format.align_plan import Piece, PieceKind, Plan
from zdiffsync.format.zstd import compress, compress_prefixed
from zdiffsync.model.bytesource import ByteSource

_SAMPLES = 32
_SAMPLE = 128 << 10
_LEVEL = 3


def whole_bytes(new: ByteSource, plan: Plan) -> float:
    """Return about how many bytes all data of `new` (what is not ZERO in `plan`) takes compressed."""

    def cost(_: Piece, start: int, end: int) -> int:
        return len(compress(new.read(start, end - start), _LEVEL))

    return _sampled(plan, {PieceKind.SAME, PieceKind.DIFFERS}, cost)


def delta_bytes(new: ByteSource, old: ByteSource, plan: Plan) -> float:
    """Return about how many bytes the windows of `plan` take compressed with their old ranges."""

    def cost(piece: Piece, start: int, end: int) -> int:
        low = min(piece.old + max(0, start - piece.start - _SAMPLE), piece.old_end)
        high = min(low + 3 * _SAMPLE, piece.old_end)
        return len(compress_prefixed(new.read(start, end - start), old.read(low, high - low), _LEVEL))

    return _sampled(plan, {PieceKind.DIFFERS}, cost)


def _sampled(plan: Plan, kinds: set[PieceKind], cost: Callable[[Piece, int, int], int]) -> float:
    """Return the sum of `cost` over the pieces of `kinds`, judged by samples spread evenly over them."""
    total = sum(piece.length for piece in plan if piece.kind in kinds)
    step = max(total // _SAMPLES, 1)
    passed = taken = found = 0
    due = step // 2
    for piece in plan:
        if piece.kind not in kinds:
            continue
        while due < passed + piece.length:
            # A piece shorter than a sample is taken whole: cut, it would lose its context.
            start = piece.start if piece.length <= _SAMPLE else piece.start + due - passed
            end = min(start + _SAMPLE, piece.end)
            taken += end - start
            found += cost(piece, start, end)
            due += max(step, end - start)
        passed += piece.length
    return total * found / taken if taken else 0.0
