"""The inodes the kernel knows, and how to find each of them again.

Every name given to the kernel is noted here until the kernel forgets it. Rule: a note is a folder and
a name, never the thing itself, so a million of them stay small; what they lead to can be loaded again.
"""

from collections.abc import Iterable
from itertools import islice

from zdiffsync.mount.items import Folder, Item

_LIMIT = 500_000  # notes, at some 250 bytes each
_BATCH = 10_000


class _Known:
    """How often the kernel was told of an inode, where it is, and its own folder if it is a directory."""

    __slots__ = ("count", "folder", "name", "own")

    def __init__(self, folder: Folder, name: bytes, own: Folder | None) -> None:
        self.folder, self.name, self.own = folder, name, own
        self.count = 0


class InodeTable:
    """What the kernel knows. For the event loop's thread only."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._known: dict[int, _Known] = {}
        self._limit = self._room = limit

    def __len__(self) -> int:
        return len(self._known)

    def remember(self, folder: Folder, name: bytes, item: Item) -> None:
        """Note that the kernel has been told once more of `item`, as `name` in `folder`."""
        known = self._known.get(item.inode)
        if known is None:
            known = self._known[item.inode] = _Known(folder, name, item.folder)
        known.count += 1

    def forget(self, inode: int, count: int) -> None:
        """Note that the kernel has forgotten `count` of those times."""
        known = self._known.get(inode)
        if known is None:
            return
        known.count -= count
        if known.count <= 0:
            del self._known[inode]
            self._room = max(self._limit, min(self._room, len(self._known) + _BATCH))

    def where(self, inode: int) -> tuple[Folder, bytes] | None:
        """Return the folder and name of an inode, None when the kernel should not know it."""
        known = self._known.get(inode)
        return None if known is None else (known.folder, known.name)

    def folder(self, inode: int) -> Folder | None:
        """Return the folder that a directory's inode stands for, None when it is none."""
        known = self._known.get(inode)
        return None if known is None else known.own

    def surplus(self) -> list[tuple[int, bytes]]:
        """Return names the kernel should be asked to give up: (folder's inode, name) of the oldest.

        Directories stay: taking one back would pull it from under those who work in it.
        """
        if len(self._known) <= self._room:
            return []
        oldest = [inode for inode, known in self._known.items() if known.own is None]
        names = []
        for inode in islice(oldest, max(_BATCH, len(self._known) - self._limit)):
            known = self._known.pop(inode)
            self._known[inode] = known  # to the end: what the kernel keeps has its next turn last
            names.append((known.folder.inode, known.name))
        self._room = len(self._known) + _BATCH  # what is in use stays: ask again when as many more have come
        return names


def release(table: InodeTable, forgotten: Iterable[tuple[int, int]]) -> None:
    """Take in one message of the kernel: inodes and how often it forgets them."""
    for inode, count in forgotten:
        table.forget(inode, count)
