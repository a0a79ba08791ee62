"""Readable byte ranges: a local file, a stored content, a base file, all read the same way.

Rule: `read` returns exactly what was asked for, or raises; short reads do not exist above this line.
"""

from typing import Protocol


class ByteSource(Protocol):
    """A fixed number of bytes, readable at any offset."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` (both in bytes; the range lies inside the source)."""
