"""Decoded blocks of files that are read from front to back, kept in memory while there is room.

Between open files and their bytes. Rule: a block is made once however many wait for it, in a task of
its own, so that a reader who goes away takes nothing from the others.
"""

from collections import OrderedDict
from collections.abc import Callable

import trio

from zdiffsync.mount.workers import Workers

BLOCK = 1 << 20  # bytes
_LIMIT = 96 << 20  # bytes kept

Key = tuple[int, int]  # inode, number of the block
MakeBlock = Callable[[int, int], bytes]  # offset, length


class _Making:
    """A block being made: who waits for it, and how it ended."""

    __slots__ = ("data", "done", "error")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.data: bytes | None = None
        self.error: Exception | None = None


class Blocks:
    """The blocks of all files. For tasks of one event loop; `nursery` is where blocks are made."""

    def __init__(self, workers: Workers, nursery: trio.Nursery, limit: int = _LIMIT) -> None:
        self._workers, self._nursery, self._limit = workers, nursery, limit
        self._kept: OrderedDict[Key, bytes] = OrderedDict()
        self._size = 0
        self._making: dict[Key, _Making] = {}

    def kept(self, key: Key) -> bytes | None:
        """Return a block if it is in memory."""
        data = self._kept.get(key)
        if data is not None:
            self._kept.move_to_end(key)
        return data

    def ahead(self, key: Key, offset: int, length: int, make: MakeBlock) -> None:
        """Have a block made, unless it is or will be here; whether that fails shows when it is read."""
        if key not in self._kept and key not in self._making:
            self._start(key, offset, length, make)

    async def read(self, key: Key, offset: int, length: int, make: MakeBlock) -> bytes:
        """Return the block of `length` bytes at `offset`. Raises what `make` raises."""
        data = self.kept(key)
        if data is not None:
            return data
        making = self._making.get(key) or self._start(key, offset, length, make)
        await making.done.wait()
        if making.data is None:
            assert making.error is not None
            raise making.error
        return making.data

    def _start(self, key: Key, offset: int, length: int, make: MakeBlock) -> _Making:
        making = self._making[key] = _Making()
        self._nursery.start_soon(self._make, key, offset, length, make, making)
        return making

    async def _make(self, key: Key, offset: int, length: int, make: MakeBlock, making: _Making) -> None:
        try:
            making.data = await self._workers.reading(make, offset, length)
        except Exception as error:  # noqa: BLE001 - it is for those who wait
            making.error = error
        else:
            self._keep(key, making.data)
        finally:
            del self._making[key]
            making.done.set()

    def _keep(self, key: Key, data: bytes) -> None:
        self._kept[key] = data
        self._size += len(data)
        while self._size > self._limit:
            self._size -= len(self._kept.popitem(last=False)[1])
