"""The last step of the alignment: short pieces are gathered into windows, each with its old range.

A window is what one patch covers: bounded, so that any byte can be had without reading the whole file.
Rule: a piece that differs leaves here no longer than a window, with an old range a reader can hold.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from zdiffsync.format.align import Aligner
from zdiffsync.format.align_plan import Piece, PieceKind
from zdiffsync.format.align_scan import MIN_COPY, MIN_GAP, Digest, same
from zdiffsync.model.bytesource import ByteSource

# The old range is widened to both sides, by the length of the window within these bounds: related content
# lies near (a third less bytes on source trees than with a page), but a reader has to read it all.
_LEAST_MARGIN = 32 << 10
_MOST_MARGIN = 512 << 10
# So long a difference without anything to copy is looked up as a whole.
_PLACED = 512 << 10


def windows(
    pieces: Iterable[Piece],
    new: ByteSource,
    old: ByteSource,
    *,
    aligner: Aligner | None,
    length: int,
    digest: Digest,
) -> Iterator[Piece]:
    """Yield `pieces` with all that differs refined by `aligner`, in windows of at most `length` bytes."""
    for piece in _gathered(_parts(pieces, new, aligner, length, digest), aligner, length):
        yield _widened(piece, old.size, length) if piece.kind is PieceKind.DIFFERS else piece


def _parts(
    pieces: Iterable[Piece], new: ByteSource, aligner: Aligner | None, length: int, digest: Digest
) -> Iterator[Piece]:
    for piece in pieces:
        if piece.kind is not PieceKind.DIFFERS:
            yield piece
            continue
        shift = piece.old - piece.start
        for part in [piece] if aligner is None else aligner.refine(piece):
            near = abs(part.old - part.start - shift) < _LEAST_MARGIN
            shift = part.old - part.start
            if part.kind is PieceKind.SAME and part.length >= (MIN_GAP if near else MIN_COPY):
                yield from same(new, part.start, part.end, part.old, digest)
            else:
                # Equal, but too short for an op: within a window it still tells where the old bytes lie.
                yield from _cut(replace(part, kind=PieceKind.DIFFERS), length)


def _cut(piece: Piece, length: int) -> Iterator[Piece]:
    """Cut a long difference into windows, its old range in proportion."""
    old_length = piece.old_end - piece.old
    # A range of a wholly other length was not stretched: something was added or removed somewhere in it.
    if not piece.length // 2 <= old_length <= piece.length * 2:
        old_length = min(old_length, piece.length)
    for start in range(piece.start, piece.end, length):
        end = min(start + length, piece.end)
        low = piece.old + (start - piece.start) * old_length // piece.length
        high = piece.old + (end - piece.start) * old_length // piece.length
        yield Piece(PieceKind.DIFFERS, start, end, low, high, low)


def _gathered(parts: Iterable[Piece], aligner: Aligner | None, length: int) -> Iterator[Piece]:
    """Join neighbouring differences to windows of at most `length` bytes."""
    run: list[Piece] = []
    for part in parts:
        differs = part.kind is PieceKind.DIFFERS
        if run and not (differs and part.end - run[0].start <= length):
            yield from _windows_of(run, aligner, length)
            run = []
        if differs:
            run.append(part)
        else:
            yield part
    yield from _windows_of(run, aligner, length)


def _windows_of(run: list[Piece], aligner: Aligner | None, length: int) -> Iterator[Piece]:
    """Join what lies near each other, or make one window of all if a region is found that more came from."""
    found: list[Piece] = []
    for part in run:
        joined = _joined(found[-1], part, length) if found else None
        found[-1 if joined else len(found) :] = [joined or part]
    if aligner and run and run[-1].end - run[0].start >= _PLACED:
        start, end = run[0].start, run[-1].end
        known = (found[0].old - _MOST_MARGIN, found[0].old_end + _MOST_MARGIN) if len(found) == 1 else (0, 0)
        if place := aligner.place(start, end, known):
            found = [Piece(PieceKind.DIFFERS, start, end, *place, place[0])]
    yield from found


def _joined(window: Piece, part: Piece, length: int) -> Piece | None:
    old, old_end = min(window.old, part.old), max(window.old_end, part.old_end)
    joined = replace(window, end=part.end, old=old, old_end=old_end)
    if joined.length > length or old_end - old > 2 * joined.length:
        return None
    return joined


def _widened(piece: Piece, old_size: int, length: int) -> Piece:
    margin = min(max(_LEAST_MARGIN, piece.length), _MOST_MARGIN)
    old = max(0, min(piece.old, old_size) - margin)
    return replace(piece, old=old, old_end=min(piece.old_end + margin, old + 2 * length, old_size))
