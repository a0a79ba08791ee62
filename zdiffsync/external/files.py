"""Local files as byte sources, and where their data lies between the holes.

Read by the packer (files of a snapshot) and by restore (staged base files).
Rule: a file that gives fewer bytes than its size is an error, never a short read.
"""

import errno
import os
from collections.abc import Iterator


class FileSource:
    """A local file as a ByteSource; raises OSError when it gives fewer bytes than its size."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`."""
        parts = []
        while length:
            part = os.pread(self._fd, length, offset)
            if not part:
                raise OSError(errno.EIO, "file ends before its size")
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """Yield the (start, end) of the file's data in bytes, leaving out its holes."""
        at = 0
        while at < self.size:
            try:
                start = os.lseek(self._fd, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return
                raise
            at = os.lseek(self._fd, start, os.SEEK_HOLE)
            yield start, min(at, self.size)
