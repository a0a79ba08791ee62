"""Where content of the old version lies: a bounded index of short samples, looked up at any offset.

As in rsync, one side is sampled at a fixed spacing and the other looked up byte by byte; but only one
spacing's length of the new version has to be looked up to hit a sample, wherever the content has moved to.
Rule: at most `MAX_ANCHORS` samples whatever the size; a sample is only a hint until bytes were compared.
"""

from collections.abc import Iterable, Iterator

from zdiffsync.format.align_ranges import Range
from zdiffsync.model.bytesource import ByteSource

KEY_LENGTH = 32
MAX_ANCHORS = 1 << 18

_MIN_SPACING = 1 << 10
# Bytes read at once while the spacing is smaller than that.
_READ = 256 << 10
# Runs, padding and the like occur everywhere: a sample of fewer different bytes finds nothing.
_MIN_DISTINCT = 8
# Of content that occurs often, this many places are remembered.
_MAX_PLACES = 4


class AnchorIndex:
    """Samples of the bytes of `old` in `ranges`, every `spacing` bytes."""

    def __init__(self, old: ByteSource, ranges: Iterable[Range]) -> None:
        ranges = list(ranges)
        total = sum(end - start for start, end in ranges)
        self.spacing = _MIN_SPACING
        while total // self.spacing > MAX_ANCHORS:
            self.spacing *= 2
        self._offsets: dict[bytes, tuple[int, ...]] = {}
        for start, end in ranges:
            for at in range(start, end, max(_READ, self.spacing)):
                self._sample(old, at, min(at + _READ, end))

    def __len__(self) -> int:
        return len(self._offsets)

    def hits(self, data: bytes, likely: int) -> Iterator[tuple[int, int]]:
        """Yield (offset in `data`, offset in the old version) of every sample found in `data`.

        Samples that occur once come first: those of phrases and headers say little. Of several places in the
        old version the one nearest to where it would be if `data` began at `likely`.
        """
        offsets = self._offsets
        common: list[tuple[int, tuple[int, ...]]] = []
        for at in range(len(data) - KEY_LENGTH + 1):
            found = offsets.get(data[at : at + KEY_LENGTH])
            if found is None:
                continue
            if len(found) == 1:
                yield at, found[0]
            else:
                common.append((at, found))
        for at, found in common:
            yield at, _nearest(found, likely + at)

    def _sample(self, old: ByteSource, start: int, end: int) -> None:
        # A wide spacing needs the sample alone, not the bytes up to the next one.
        length = min(KEY_LENGTH if self.spacing >= _READ else end - start, end - start)
        data = old.read(start, length)
        for at in range(0, length - KEY_LENGTH + 1, self.spacing):
            key = data[at : at + KEY_LENGTH]
            if len(set(key)) >= _MIN_DISTINCT:
                known = self._offsets.get(key, ())
                if len(known) < _MAX_PLACES:
                    self._offsets[key] = (*known, start + at)


def _nearest(places: tuple[int, ...], likely: int) -> int:
    return min(places, key=lambda place: abs(place - likely))
