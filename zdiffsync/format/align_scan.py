"""The first pass: compare the new version with the old at the same offsets.

Writes in place (disk images, databases) end here; what was shifted comes out as one long difference,
which the second pass looks up by content.
Rule: what is known unchanged or a hole is not read; all else is read once, front to back.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future

from zdiffsync.format.align_plan import Piece, PieceKind
from zdiffsync.format.align_ranges import Range, common_prefix, common_suffix, partitioned
from zdiffsync.model.bytesource import ByteSource

# Equal stretches shorter than this between two differences are not worth an op of their own: two digests
# and a frame take a hundred bytes, a reference within a window five.
MIN_GAP = 64 << 10
# What was moved is worth a copy from here on.
MIN_COPY = 16 << 10
# A digested copy is read as a whole by whoever wants one byte of it.
COPY_LENGTH = 8 << 20

Digest = Callable[[bytes], Future[bytes]]

_BLOCK = 1 << 20
_PAGE = 4 << 10


def scan(
    new: ByteSource, old: ByteSource, *, extents: list[Range] | None, data: list[Range], digest: Digest
) -> Iterator[Piece]:
    """Yield the pieces of `new` compared with `old` at the same offsets.

    `extents`: the ranges that may differ (None: all, and then equal ranges carry digests, made by `digest`);
    `data`: the ranges of `new` that are not holes. A piece that differs names the same range of `old`.
    """
    common = min(new.size, old.size)
    for start, end, is_data in partitioned(data, 0, new.size):
        if not is_data:
            yield Piece(PieceKind.ZERO, start, end)
            continue
        changed = [(start, end)] if extents is None else extents
        for low, high, may_differ in partitioned(changed, start, min(end, common)):
            if may_differ:
                yield from _compared(new, old, low, high, digest if extents is None else None)
            else:
                yield Piece(PieceKind.SAME, low, high, low, high)
        if end > common:
            yield Piece(PieceKind.DIFFERS, max(start, common), end, common, common)


def same(new: ByteSource, start: int, end: int, old: int, digest: Digest | None) -> Iterator[Piece]:
    """Yield bytes `start` to `end` of `new`, which lie at `old` in the old version, cut for digests."""
    step = COPY_LENGTH if digest else end - start
    for low in range(start, end, max(step, 1)):
        high = min(low + step, end)
        place = old + low - start
        found = digest(new.read(low, high - low)) if digest else None
        yield Piece(PieceKind.SAME, low, high, place, place + high - low, digest=found)


def _compared(
    new: ByteSource, old: ByteSource, start: int, end: int, digest: Digest | None
) -> Iterator[Piece]:
    equal_from = start
    differs_from: int | None = None
    differs_to = start
    for low, high, pages in _pages(new, old, start, end):
        if pages is None:
            if differs_from is not None and high - differs_to >= MIN_GAP:
                yield Piece(PieceKind.DIFFERS, differs_from, differs_to, differs_from, differs_to)
                equal_from, differs_from = differs_to, None
            while differs_from is None and high - equal_from >= 2 * COPY_LENGTH:
                yield from same(new, equal_from, equal_from + COPY_LENGTH, equal_from, digest)
                equal_from += COPY_LENGTH
            continue
        if differs_from is None:
            differs_from = low + common_prefix(*pages)
            yield from same(new, equal_from, differs_from, equal_from, digest)
        differs_to = high - common_suffix(*pages)
    if differs_from is not None:
        yield Piece(PieceKind.DIFFERS, differs_from, differs_to, differs_from, differs_to)
        equal_from = differs_to
    yield from same(new, equal_from, end, equal_from, digest)


def _pages(
    new: ByteSource, old: ByteSource, start: int, end: int
) -> Iterator[tuple[int, int, tuple[bytes, bytes] | None]]:
    """Yield (start, end, the two versions of a page that differs, or None for equal bytes)."""
    for at in range(start - start % _BLOCK, end, _BLOCK):
        low = max(at, start)
        length = min(at + _BLOCK, end) - low
        ours, theirs = new.read(low, length), old.read(low, length)
        if ours == theirs:
            yield low, low + length, None
            continue
        for page in range(0, length, _PAGE):
            a, b = ours[page : page + _PAGE], theirs[page : page + _PAGE]
            yield low + page, low + page + len(a), None if a == b else (a, b)
