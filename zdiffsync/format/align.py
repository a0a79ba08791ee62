"""The second pass: find by content what the first pass saw as one long difference.

Inserted or removed bytes shift all that follows. Each long difference is probed for samples of the old
version; a hit is followed to both sides as far as the bytes are equal.
Rule: only the old bytes of differences are searched; what did not change is already where it belongs.
"""

from collections.abc import Iterable, Iterator

from zdiffsync.format.align_index import KEY_LENGTH, AnchorIndex
from zdiffsync.format.align_plan import Piece, PieceKind
from zdiffsync.format.align_ranges import Range, common_prefix, common_suffix, normalized
from zdiffsync.format.align_scan import MIN_COPY
from zdiffsync.model.bytesource import ByteSource

# Shorter differences are left to the patch, which sees their surroundings anyway.
MIN_SEARCHED = 32 << 10

# Equal bytes fewer than this say little about where the rest came from.
_MIN_MATCH = 128
# How many hits of one probe are followed before the next probe is made.
_MAX_TRIES = 8
# How far behind a mismatch the same shift is tried again before the index is asked.
_RESUME_AT = (64, 256, 1024, 4096, 16384)
_FIRST_STEP = 4 << 10
# After misses the step between probes grows to this many spacings, so foreign data costs little.
_MAX_STEP = 64
_STRIDES = (4 << 10, 64 << 10, 1 << 20)


def searched(pieces: Iterable[Piece], new: ByteSource, old: ByteSource) -> AnchorIndex | None:
    """Return the index of the old bytes of all long differences among `pieces`, None if there are none."""
    ranges: list[Range] = [(p.old, p.old_end) for p in pieces if p.length >= MIN_SEARCHED]
    if not ranges:
        return None
    # Where the new version is shorter, the old end has no counterpart at its own offset.
    ranges.append((new.size, old.size))
    index = AnchorIndex(old, normalized(ranges, old.size))
    return index if len(index) else None


class Aligner:
    """Refines pieces of `new` with an index of `old`."""

    def __init__(self, new: ByteSource, old: ByteSource, index: AnchorIndex) -> None:
        self._new = new
        self._old = old
        self._index = index

    def refine(self, piece: Piece) -> Iterator[Piece]:
        """Yield `piece`, which differs, as pieces that are the same as old ones (undigested) or differ."""
        if piece.length < MIN_SEARCHED:
            yield piece
            return
        done, old_done = piece.start, piece.old
        least = max(_FIRST_STEP, self._index.spacing)
        at, step = piece.start, least
        while at < piece.end:
            match = self._probe(at, done, old_done, piece.end)
            if match is None:
                at += step
                step = min(step * 2, _MAX_STEP * self._index.spacing)
                continue
            if match.start > done:
                yield _difference(done, match.start, old_done, match.old)
            yield match
            done, old_done = match.end, match.old_end
            # A short match is no reason to look closer: repetitive data is full of them.
            at, step = (done, least) if match.length >= MIN_COPY else (max(done, at + least), step)
        if done < piece.end:
            yield Piece(PieceKind.DIFFERS, done, piece.end, old_done, max(old_done, piece.old_end))

    def _probe(self, at: int, done: int, old_done: int, end: int) -> Piece | None:
        """Find bytes of the new version at or shortly behind `at` in the old one."""
        length = min(self._index.spacing + KEY_LENGTH, end - at)
        for skip in _RESUME_AT:
            resumed = self._followed(at + skip, old_done + at + skip - done, done, end)
            if resumed is not None:
                return resumed
        data = self._new.read(at, length)
        for tries, (offset, old_at) in enumerate(self._index.hits(data)):
            found = self._followed(at + offset, old_at, done, end)
            if found is not None:
                return found
            if tries == _MAX_TRIES:
                break
        return None

    def _followed(self, at: int, old_at: int, done: int, end: int) -> Piece | None:
        """Return the longest equal stretch around `at` and `old_at`, between `done` and `end`."""
        if at >= end or old_at >= self._old.size:
            return None
        forward = self._forward(at, old_at, end)
        if not forward:
            return None
        back = self._backward(at, old_at, done)
        if forward + back < _MIN_MATCH:
            return None
        return Piece(PieceKind.SAME, at - back, at + forward, old_at - back, old_at + forward)

    def _forward(self, at: int, old_at: int, end: int) -> int:
        limit = min(end - at, self._old.size - old_at)
        equal = 0
        for stride in _widening():
            length = min(stride, limit - equal)
            ours, theirs = self._new.read(at + equal, length), self._old.read(old_at + equal, length)
            if ours != theirs:
                return equal + common_prefix(ours, theirs)
            equal += length
            if equal == limit:
                break
        return equal

    def _backward(self, at: int, old_at: int, done: int) -> int:
        limit = min(at - done, old_at)
        equal = 0
        for stride in _widening():
            length = min(stride, limit - equal)
            ours = self._new.read(at - equal - length, length)
            theirs = self._old.read(old_at - equal - length, length)
            if ours != theirs:
                return equal + common_suffix(ours, theirs)
            equal += length
            if equal == limit:
                break
        return equal


def _widening() -> Iterator[int]:
    yield from _STRIDES
    while True:
        yield _STRIDES[-1]


def _difference(start: int, end: int, old: int, old_end: int) -> Piece:
    # What was moved to here from further up says nothing about where the bytes before it came from.
    return Piece(PieceKind.DIFFERS, start, end, old, old_end if old_end >= old else old + end - start)
