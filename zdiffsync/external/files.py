"""Local files: as byte sources, where their data lies between the holes, and private ones replaced whole.

Read by the packer (files of a snapshot) and by restore (staged base files).
Rule: a file that gives fewer bytes than its size is an error, never a short read.
"""

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path


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


def replace_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all, and its folder. Raises OSError."""
    temporary = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
