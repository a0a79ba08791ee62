"""How far two sources are equal, from a given place in each.

Rule: bytes are compared in strides that widen, so that a short match costs a short read.
"""

from collections.abc import Iterator

from zdiffsync.format.align_ranges import common_prefix, common_suffix
from zdiffsync.model.bytesource import ByteSource

_STRIDES = (4 << 10, 64 << 10, 1 << 20)


def equal_forward(new: ByteSource, start: int, old: ByteSource, old_start: int, limit: int) -> int:
    """Return how many bytes, at most `limit`, `new` from `start` and `old` from `old_start` share."""
    equal = 0
    for length in _lengths(limit):
        ours, theirs = new.read(start + equal, length), old.read(old_start + equal, length)
        if ours != theirs:
            return equal + common_prefix(ours, theirs)
        equal += length
    return equal


def equal_backward(new: ByteSource, end: int, old: ByteSource, old_end: int, limit: int) -> int:
    """Return how many bytes, at most `limit`, `new` up to `end` and `old` up to `old_end` share."""
    equal = 0
    for length in _lengths(limit):
        ours, theirs = new.read(end - equal - length, length), old.read(old_end - equal - length, length)
        if ours != theirs:
            return equal + common_suffix(ours, theirs)
        equal += length
    return equal


def _lengths(limit: int) -> Iterator[int]:
    for stride in _STRIDES:
        if limit <= stride:
            break
        yield stride
        limit -= stride
    while limit > 0:
        yield min(limit, _STRIDES[-1])
        limit -= _STRIDES[-1]
