"""An entry: name-less metadata of one file, directory, symlink or special file.

Built by the backup side from `lstat`, stored in manifests and the catalog, written back by restore.
Rule: holds exactly what a restore must reproduce, nothing that changes by itself (no atime, no ctime).
"""

import stat
from dataclasses import dataclass
from enum import StrEnum


class EntryType(StrEnum):
    """The seven kinds of directory entries, by the letters `find -type` uses."""

    FILE = "f"
    DIRECTORY = "d"
    SYMLINK = "l"
    FIFO = "p"
    SOCKET = "s"
    CHARACTER = "c"
    BLOCK = "b"

    @classmethod
    def of_mode(cls, mode: int) -> "EntryType":
        """Return the type encoded in a `st_mode` (ValueError for one Linux does not have)."""
        return _BY_FORMAT[stat.S_IFMT(mode)]

    @property
    def format_bits(self) -> int:
        """The `S_IFMT` bits of this type."""
        return _FORMATS[self]


_FORMATS = {
    EntryType.FILE: stat.S_IFREG,
    EntryType.DIRECTORY: stat.S_IFDIR,
    EntryType.SYMLINK: stat.S_IFLNK,
    EntryType.FIFO: stat.S_IFIFO,
    EntryType.SOCKET: stat.S_IFSOCK,
    EntryType.CHARACTER: stat.S_IFCHR,
    EntryType.BLOCK: stat.S_IFBLK,
}
_BY_FORMAT = {bits: kind for kind, bits in _FORMATS.items()}


@dataclass(frozen=True, slots=True)
class Entry:
    """Metadata of one object.

    `mode` holds the permission bits only (0o7777); `mtime_ns` nanoseconds since 1970; `size` bytes
    (files only, else 0); `rdev` the device number of a device node, else 0; `target` the bytes of a
    symlink; `xattrs` sorted (name, value) pairs, POSIX ACLs among them.
    """

    type: EntryType
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int = 0
    rdev: int = 0
    target: bytes | None = None
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
