"""Open files: which reads are answered from memory, which fetch ahead, and which only what is asked.

Between the file system and a file's bytes. Rule: a read on its own costs what it asks for; only reads
that follow one another make blocks ahead.
"""

from collections import OrderedDict
from threading import Lock

from zdiffsync.model.bytesource import ByteSource
from zdiffsync.mount.blocks import BLOCK, Blocks
from zdiffsync.mount.items import Content, Item
from zdiffsync.mount.workers import Workers

_FURTHEST = 8  # blocks made ahead at most
_SLACK = 2 * BLOCK  # bytes by which the kernel's own read-ahead disorders reads
_RECENT = 4  # closed files kept open: who opens a file often opens it again


class OpenFile:
    """One file, for all who have it open. `read` is for tasks of the event loop."""

    def __init__(self, item: Item, content: Content, blocks: Blocks, workers: Workers) -> None:
        self.place = content.place
        self.users = 0
        self._inode, self._size = item.inode, item.entry.size
        self._content, self._blocks, self._workers = content, blocks, workers
        self._source: ByteSource | None = None
        self._lock = Lock()
        self._next = 0
        self._run = 0

    async def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at `offset`, fewer than `length` at the end. Raises ZdiffsyncError."""
        end = min(offset + length, self._size)
        if offset >= end:
            return b""
        following = self._note(offset, end)
        first, last = offset // BLOCK, (end - 1) // BLOCK
        if first == last and (kept := self._blocks.kept((self._inode, first))) is not None:
            if following:
                self._ahead(last)
            return kept[offset - first * BLOCK : end - first * BLOCK]
        if not following and self._size > BLOCK:
            return await self._workers.reading(self._bytes, offset, end - offset)
        self._ahead(last)
        parts = []
        for number in range(first, last + 1):
            start = number * BLOCK
            block = await self._blocks.read(
                (self._inode, number), start, min(BLOCK, self._size - start), self._bytes
            )
            parts.append(block[max(offset - start, 0) : end - start])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _note(self, offset: int, end: int) -> bool:
        """Take in where a read was; return whether it follows others."""
        if self._next - _SLACK <= offset <= self._next + _SLACK and self._next:
            self._run += 1
        else:
            self._run = 0
        self._next = end
        return self._run > 0

    def _ahead(self, last: int) -> None:
        furthest = min(last + min(1 << min(self._run, 8), _FURTHEST), (self._size - 1) // BLOCK)
        for number in range(last + 1, furthest + 1):
            start = number * BLOCK
            length = min(BLOCK, self._size - start)
            self._blocks.ahead((self._inode, number), start, length, self._bytes)

    def _bytes(self, offset: int, length: int) -> bytes:
        with self._lock:
            if self._source is None:
                self._source = self._content.open()
        return self._source.read(offset, length)


class OpenFiles:
    """The files that are open, and a few that were. For the event loop's thread only."""

    def __init__(self, blocks: Blocks, workers: Workers) -> None:
        self._blocks, self._workers = blocks, workers
        self._files: dict[int, OpenFile] = {}
        self._recent: OrderedDict[int, OpenFile] = OrderedDict()
        self._handles: dict[int, int] = {}
        self._last = 0

    def open(self, item: Item, content: Content) -> int:
        """Return a handle for a file; nothing is read yet."""
        file = self._files.get(item.inode) or self._recent.pop(item.inode, None)
        if file is None:
            file = OpenFile(item, content, self._blocks, self._workers)
        self._files[item.inode] = file
        file.users += 1
        self._last += 1
        self._handles[self._last] = item.inode
        return self._last

    def file(self, handle: int) -> OpenFile:
        """Return the file behind a handle."""
        return self._files[self._handles[handle]]

    def close(self, handle: int) -> None:
        """Give up a handle."""
        inode = self._handles.pop(handle)
        file = self._files[inode]
        file.users -= 1
        if not file.users:
            self._recent[inode] = self._files.pop(inode)
            if len(self._recent) > _RECENT:
                self._recent.popitem(last=False)
