"""The second pass: find by content what the first pass saw as one long difference.

Inserted or removed bytes shift all that follows. Each long difference is probed for samples of the old
version; a hit is followed to both sides as far as the bytes are equal.
Rule: only the old bytes of differences are searched; what did not change is already where it belongs.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

from zdiffsync.format.align_follow import equal_backward, equal_forward
from zdiffsync.format.align_index import KEY_LENGTH, AnchorIndex
from zdiffsync.format.align_plan import Piece, PieceKind
from zdiffsync.format.align_ranges import Range, common_prefix, common_suffix, normalized
from zdiffsync.format.align_scan import MIN_COPY
from zdiffsync.model.bytesource import ByteSource

# Shorter differences are left to the patch, which sees their surroundings anyway.
MIN_SEARCHED = 32 << 10

# Equal bytes fewer than this say little about where the rest came from. Common headers and phrases are
# longer: what lies far from where the bytes around it came from must be worth a copy of its own.
_MIN_MATCH = 128
_FAR = 64 << 10
# How many hits of one probe are followed.
_MAX_TRIES = 8
# How far behind a mismatch a known shift is tried again before the index is asked, and how many shifts.
_RESUME_AT = (64, 256, 1024, 4096, 16384)
_SHIFTS = 4
_FIRST_STEP = 4 << 10
# After misses the step between probes grows to this many spacings, so foreign data costs little.
_MAX_STEP = 64
# How far apart probes say where a long difference came from, and how many must agree. What was known without
# them stays where it has nearly as many of them for it.
_VOTE_STEP = 32 << 10
_LEAST_VOTES = 8
_AS_GOOD = 0.9


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
    """Refines pieces of `new`, in order, with an index of `old`."""

    def __init__(self, new: ByteSource, old: ByteSource, index: AnchorIndex) -> None:
        self._new = new
        self._old = old
        self._index = index
        # Distances from new to old at which long stretches were found equal, the latest first.
        self._shifts: deque[int] = deque(maxlen=_SHIFTS)
        # All of the new version before `_done` is explained, and came from before `_old_done`.
        self._done = 0
        self._old_done = 0

    def refine(self, piece: Piece) -> Iterator[Piece]:
        """Yield `piece`, which differs, as pieces that are the same as old ones (undigested) or differ."""
        if piece.length < MIN_SEARCHED:
            yield piece
            return
        self._done, self._old_done = piece.start, piece.old
        self._follow_shift(piece.old - piece.start)
        least = max(_FIRST_STEP, self._index.spacing)
        at, step = piece.start, least
        while at < piece.end:
            match = self._resumed(at, piece.end) or self._probed(at, piece.end)
            if match is None:
                at += step
                step = min(step * 2, _MAX_STEP * self._index.spacing)
                continue
            if match.start > self._done:
                yield self._difference(match.start, match.old)
            yield match
            self._done, self._old_done = match.end, match.old_end
            # A short match is no reason to look closer: repetitive data is full of them.
            at = max(match.end, at + least)
            if match.length >= MIN_COPY:
                self._follow_shift(match.old - match.start)
                at, step = match.end, least
        if self._done < piece.end:
            yield self._difference(piece.end, piece.old_end)

    def place(self, start: int, end: int, known: Range) -> Range | None:
        """Return where in the old version most of bytes `start` to `end` occur.

        None where that cannot be told, or is no better than `known`. What was packed anew came from one
        region, in small pieces; more may have been there between them.
        """
        length = end - start
        found: list[int] = []
        for at in range(start, end, max(_VOTE_STEP, self._index.spacing)):
            data = self._new.read(at, min(self._index.spacing + KEY_LENGTH, end - at))
            hits = islice(self._index.hits(data, at), _MAX_TRIES)
            found += islice((old for ahead, old in hits if self._vouched(at + ahead, old)), 1)
        found.sort()
        best: Range = (0, 0)
        for first, low in enumerate(found):
            last = bisect_right(found, low + length * 3 // 2)
            if last - first > best[1] - best[0]:
                best = (first, last)
        votes = best[1] - best[0]
        already = bisect_right(found, known[1]) - bisect_left(found, known[0])
        if votes < _LEAST_VOTES or already >= _AS_GOOD * votes:
            return None
        return found[best[0]], found[best[1] - 1]

    def _vouched(self, at: int, old_at: int) -> bool:
        """Return whether more than a phrase is equal at `at` and `old_at`."""
        around = _MIN_MATCH - KEY_LENGTH
        low = min(around, at, old_at)
        ours = self._new.read(at - low, min(low + _MIN_MATCH, self._new.size - at + low))
        theirs = self._old.read(old_at - low, min(low + _MIN_MATCH, self._old.size - old_at + low))
        equal = common_prefix(ours[low:], theirs[low:]) + common_suffix(ours[:low], theirs[:low])
        return equal >= _MIN_MATCH

    def _difference(self, end: int, old_end: int) -> Piece:
        # What was moved to here from further up says nothing about where the bytes before it came from.
        if old_end < self._old_done:
            old_end = min(self._old_done + end - self._done, self._old.size)
        return Piece(PieceKind.DIFFERS, self._done, end, self._old_done, old_end)

    def _follow_shift(self, shift: int) -> None:
        if shift in self._shifts:
            self._shifts.remove(shift)
        self._shifts.appendleft(shift)

    def _resumed(self, at: int, end: int) -> Piece | None:
        """Find bytes shortly behind `at` that continue at one of the latest shifts."""
        for shift in self._shifts:
            for skip in _RESUME_AT:
                place = at + skip
                old_place = place + shift
                if place + KEY_LENGTH > end or not 0 <= old_place <= self._old.size - KEY_LENGTH:
                    continue
                if self._new.read(place, KEY_LENGTH) == self._old.read(old_place, KEY_LENGTH):
                    found = self._followed(place, old_place, end)
                    if found:
                        return found
        return None

    def _probed(self, at: int, end: int) -> Piece | None:
        """Find the longest stretch with a sample of the old version that begins within a spacing of `at`."""
        data = self._new.read(at, min(self._index.spacing + KEY_LENGTH, end - at))
        best: Piece | None = None
        likely = self._old_done + at - self._done
        for offset, old_place in islice(self._index.hits(data, likely), _MAX_TRIES):
            if best and best.start <= at + offset < best.end:
                continue
            found = self._followed(at + offset, old_place, end)
            if found and (best is None or found.length > best.length):
                best = found
        return best

    def _followed(self, at: int, old_at: int, end: int) -> Piece | None:
        """Return the longest equal stretch around `at` and `old_at` that ends by `end`, if it is worth it."""
        ahead = equal_forward(self._new, at, self._old, old_at, min(end - at, self._old.size - old_at))
        back = equal_backward(self._new, at, self._old, old_at, min(at - self._done, old_at))
        near = any(abs(old_at - at - shift) <= _FAR for shift in self._shifts)
        if ahead + back < (_MIN_MATCH if near else MIN_COPY):
            return None
        return Piece(PieceKind.SAME, at - back, at + ahead, old_at - back, old_at + ahead)
