"""Byte ranges and byte comparison: the small tools of the alignment.

Rule: ranges are (start, end) in bytes, half open, in order, never touching.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator

Range = tuple[int, int]


def normalized(ranges: Iterable[Range], size: int) -> list[Range]:
    """Return `ranges`, in any order and overlapping, as the ranges inside 0 to `size` they cover."""
    covered: list[Range] = []
    for start, end in sorted((max(0, start), min(end, size)) for start, end in ranges):
        if start >= end:
            continue
        if covered and start <= covered[-1][1]:
            covered[-1] = (covered[-1][0], max(covered[-1][1], end))
        else:
            covered.append((start, end))
    return covered


def partitioned(ranges: list[Range], start: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """Cut `start` to `end` at the edges of `ranges`: yield (start, end, is inside), in order."""
    at = start
    first = bisect_right(ranges, start, key=lambda covered: covered[1])
    for number in range(first, len(ranges)):
        low, high = ranges[number]
        if max(low, at) >= end:
            break
        if low > at:
            yield at, low, False
        at = max(at, low)
        yield at, min(high, end), True
        at = min(high, end)
    if at < end:
        yield at, end, False


def common_prefix(a: bytes, b: bytes) -> int:
    """Return how many bytes `a` and `b` have in common at their beginnings."""
    low, high = 0, min(len(a), len(b))
    # Halving beats a loop over bytes: each slice is compared at memory speed.
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def common_suffix(a: bytes, b: bytes) -> int:
    """Return how many bytes `a` and `b` have in common at their ends."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[len(a) - middle : len(a) - low] == b[len(b) - middle : len(b) - low]:
            low = middle
        else:
            high = middle - 1
    return low
