"""A file of a base as readable bytes: its chunks, fetched and checked as they are read.

Rule: a byte leaves only from a chunk whose SHA-256 is its id.
"""

import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from hashlib import sha256

from zdiffsync.bases.nodes import BaseNode
from zdiffsync.bases.objects import Objects
from zdiffsync.errors import IntegrityError
from zdiffsync.model.bytesource import Hint

Nearby = Callable[[], bytes | None]

_ID = 32
_KEPT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk of a file: its `offset` and plain `length`, and the `stored` bytes from `start` of `pack`."""

    id: bytes
    offset: int
    length: int
    stored: int
    pack: str
    start: int


class ChunkCache:
    """Decoded chunks, kept while there is room; each is made once however many wait. Thread-safe."""

    def __init__(self, objects: Objects, limit: int = _KEPT_BYTES) -> None:
        self.objects, self._limit = objects, limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, Future[bytes]] = OrderedDict()
        self._used = 0

    def get(self, identifier: bytes, nearby: Nearby | None = None) -> bytes:
        """Return a chunk by its id, from `nearby` if that has it. Raises like `read` below."""
        with self._lock:
            future = self._kept.get(identifier)
            if future is not None:
                self._kept.move_to_end(identifier)
                ours = False
            else:
                future = self._kept[identifier] = Future()
                ours = True
        if ours:
            self._make(identifier, nearby, future)
        return future.result()

    def _make(self, identifier: bytes, nearby: Nearby | None, future: Future[bytes]) -> None:
        try:
            data = nearby() if nearby is not None else None
            if data is None:
                data = self.objects.blob(identifier)
        except BaseException as error:  # noqa: BLE001 - it is for all who wait, this thread among them
            with self._lock:
                self._kept.pop(identifier, None)
            future.set_exception(error)
            return
        future.set_result(data)
        with self._lock:
            self._used += len(data)
            while self._used > self._limit and len(self._kept) > 1:
                oldest = next(iter(self._kept))
                if not self._kept[oldest].done():
                    self._kept.move_to_end(oldest)
                    break
                self._used -= len(self._kept.pop(oldest).result())


class BaseFile:
    """A ByteSource over one file of a base; usable from several threads."""

    def __init__(self, node: BaseNode, cache: ChunkCache) -> None:
        self.size = node.entry.size
        self._node, self._cache = node, cache
        self._lock = threading.Lock()
        self._known = array("Q")

    @property
    def chunks(self) -> list[Chunk]:
        """All chunks in order. Raises IntegrityError when the repository lacks one."""
        objects = self._cache.objects
        found = []
        offset = 0
        for identifier in self._ids():
            place = objects.place(identifier)
            length = objects.plain_size(place)
            found.append(Chunk(identifier, offset, length, place.length, place.pack, place.offset))
            offset += length
        return found

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`. Raises IntegrityError, ObjectMissingError, RemoteError."""
        return self._read(offset, length, None)

    def read_hinted(self, offset: int, length: int, hint: Hint) -> bytes:
        """Like `read`; chunks that the hint has right are not fetched."""
        return self._read(offset, length, hint)

    def _read(self, offset: int, length: int, hint: Hint | None) -> bytes:
        if not length:
            return b""
        end = offset + length
        ends = self._ends(end)
        parts = []
        number = bisect_right(ends, offset)
        while offset < end:
            start = ends[number - 1] if number else 0
            identifier = self._node.content[number * _ID : (number + 1) * _ID]
            data = self._cache.get(identifier, _nearby(hint, identifier, start, ends[number]))
            parts.append(data[offset - start : end - start])
            offset = ends[number]
            number += 1
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _ids(self) -> list[bytes]:
        content = self._node.content
        return [content[at : at + _ID] for at in range(0, len(content), _ID)]

    def _ends(self, offset: int) -> "array[int]":
        """Return the offset after each chunk, for all chunks up to `offset` at least."""
        objects, content = self._cache.objects, self._node.content
        count = len(content) // _ID
        with self._lock:
            known = self._known
            total = known[-1] if known else 0
            while total < offset and len(known) < count:
                identifier = content[len(known) * _ID : (len(known) + 1) * _ID]
                total += objects.plain_size(objects.place(identifier))
                known.append(total)
            if total < offset or total > self.size or (len(known) == count and total != self.size):
                raise IntegrityError(
                    f"the chunks of a file in the base hold {total} bytes, the file had {self.size}"
                )
            return known


def _nearby(hint: Hint | None, identifier: bytes, start: int, end: int) -> Nearby | None:
    if hint is None:
        return None
    return lambda: hint.take(start, end - start, lambda data: sha256(data).digest() == identifier)
