"""Readable byte ranges: a local file, a stored content, a base file, all read the same way.

Rule: `read` returns exactly what was asked for, or raises; short reads do not exist above this line.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol, Self, runtime_checkable

Offer = Callable[[int, int], bytes | None]


class ByteSource(Protocol):
    """A fixed number of bytes, readable at any offset."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` (both in bytes; the range lies inside the source)."""


@dataclass(slots=True)
class Tally:
    """What a hint was worth: bytes it did not give (`missed`), and how often what it gave was wrong."""

    missed: int = 0
    refused: int = 0
    lock: Lock = field(default_factory=Lock, repr=False)


class Hint:
    """Where a source's bytes may be had cheaper: candidates, to be believed only after a digest.

    `offer(offset, length)` returns candidate bytes or None; it is asked for ranges inside `start` to `end`
    only, `shift` bytes further on. `tally` counts for the source and what it is a delta of together.
    """

    def __init__(
        self, offer: Offer, start: int, end: int, *, shift: int = 0, tally: Tally | None = None
    ) -> None:
        self._offer, self.tally = offer, tally or Tally()
        self._start, self._end, self._shift = start, end, shift

    def take(self, offset: int, length: int, fits: Callable[[bytes], bool]) -> bytes | None:
        """Return the candidate for a range if there is one and `fits` says that it is right."""
        data = None
        if self._start <= offset and offset + length <= self._end:
            data = self._offer(offset + self._shift, length)
            if data is not None and len(data) == length and fits(data):
                return data
        with self.tally.lock:
            self.tally.missed += length
            self.tally.refused += data is not None
        return None

    def moved(self, new: int, old: int, length: int) -> Self:
        """Return the hint for an old version whose `length` bytes from `old` on stand at `new` here."""
        shift = new - old
        start, end = max(self._start - shift, old), min(self._end - shift, old + length)
        return type(self)(self._offer, start, end, shift=self._shift + shift, tally=self.tally)


@runtime_checkable
class HintedSource(Protocol):
    """A ByteSource that knows digests of its parts, so that a hint can spare it fetching them."""

    def read_hinted(self, offset: int, length: int, hint: Hint) -> bytes:
        """Like `read`, taking from `hint` what fits its digest."""


class WithHint:
    """A source that is always read with one hint, as a ByteSource."""

    def __init__(self, source: ByteSource, hint: Hint) -> None:
        self._source, self._hint = source, hint

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._source.size

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`; raises what the source raises."""
        return read_with(self._source, offset, length, self._hint)


def read_with(source: ByteSource, offset: int, length: int, hint: Hint | None) -> bytes:
    """Read from `source`, with the hint where there is one and the source can use it."""
    if hint is not None and isinstance(source, HintedSource):
        return source.read_hinted(offset, length, hint)
    return source.read(offset, length)
