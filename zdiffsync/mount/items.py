"""What names in the mount lead to: items, and the folders that list them.

Everything the kernel can ask about is an Item in the listing of a Folder, be it of a point or one of
the directories above. Rule: `Folder.load` may block and runs in a worker thread; items never change.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from zdiffsync.model.bytesource import ByteSource
from zdiffsync.model.entry import Entry, EntryType

_OBJECT_BITS = 44
_OWN = 1 << 62  # set in the numbers of directories that stand in no point


class Content(Protocol):
    """The bytes of a regular file, before it is opened."""

    @property
    def place(self) -> str:
        """Point and path, for messages."""

    def open(self) -> ByteSource:
        """Open them; may block. Raises IntegrityError, ObjectMissingError, RemoteError, CatalogError."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing: its number (st_ino), metadata, names, and what it takes in blocks of 512 bytes."""

    inode: int
    entry: Entry
    links: int = 1
    blocks: int = 0
    folder: "Folder | None" = None
    content: Content | None = None


Listing = Mapping[bytes, Item]


class Folder(ABC):
    """A directory: `inode` is its number, `place` its name in messages.

    `lasting`: what it lists never changes, so the kernel may keep it. `listing` is what has been loaded,
    `hidden` what is found by name though it is not listed.
    """

    __slots__ = ("hidden", "inode", "listing")
    lasting = True

    def __init__(self, inode: int) -> None:
        self.inode = inode
        self.listing: Listing | None = None
        self.hidden: Listing = {}

    @property
    def outdated(self) -> bool:
        """Whether what has been loaded is to be loaded again."""
        return False

    @property
    @abstractmethod
    def place(self) -> str:
        """What messages call it."""

    @abstractmethod
    def load(self) -> Listing:
        """Return what it holds, by name, in the order it is to be listed. Raises ZdiffsyncError."""


def point_inode(point: int, zfs_object: int) -> int:
    """Return the number of an object in a point, by the point's id and its ZFS object number.

    The same object in two points has two numbers, or tools would take its versions for one file.
    """
    return point << _OBJECT_BITS | zfs_object


def own_inode(*path: bytes) -> int:
    """Return the number of a directory above the points, by what it shows: the same in every mount."""
    digest = hashlib.sha256(b"\0".join(path)).digest()
    return _OWN | int.from_bytes(digest[:8], "big") >> 2


def own_directory(mtime_ns: int, uid: int, gid: int) -> Entry:
    """Return the metadata of a directory above the points."""
    return Entry(EntryType.DIRECTORY, 0o555, uid, gid, mtime_ns)
