"""A bounded cache on disk of blocks of remote objects, shared by all who read.

Between the readers of packs and bases and the remote. Objects are written once, so a block is right
for ever. Rule: a cache that cannot be written or read costs time, never a result.
"""

import os
import random
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Protocol
from zlib import crc32

from zdiffsync.errors import IntegrityError

BLOCK = 512 << 10  # bytes
_SLACK = 0.9  # share of the limit that stays when something must go
_SUM = 4  # bytes of checksum at the end of a block
_HOT = 16 << 20  # bytes of blocks kept in memory, too: what lies together is often read together
_SMALL = 64 << 10  # bytes; what a sparing read asks for alone
_TASTED = 100_000  # blocks remembered for that
_CHECKS = 32  # looks at the folder's size while as much as the limit is written


class Readable(Protocol):
    """What is cached: the reading half of an Area."""

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`."""

    def read_up_to(self, name: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, or fewer (one at least) up to the object's end."""


class ObjectCache:
    """Blocks in `folder`, at most about `limit` bytes; processes may share it. Thread-safe."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._lock = threading.Lock()
        self._hot: OrderedDict[str, bytes] = OrderedDict()
        self._heat = 0

    def over(self, area: Readable, scope: str, *, sparing: bool = False) -> "CachedArea":
        """Return `area` seen through this cache; `scope` keeps its objects apart from other areas'.

        `sparing`: for reads here and there. The first small one in a block fetches only what it asks for,
        which is sooner there; the second fetches the whole block.
        """
        return CachedArea(self, area, scope, sparing=sparing)

    def get(self, key: str) -> bytes | None:
        """Return a block, None when it is not here."""
        with self._lock:
            if (hot := self._hot.get(key)) is not None:
                self._hot.move_to_end(key)
                return hot
        path = self._path(key)
        try:
            data = path.read_bytes()
            os.utime(path)  # the least recently used go first
        except OSError:
            return None
        data, checksum = data[:-_SUM], data[-_SUM:]
        if len(checksum) < _SUM or int.from_bytes(checksum, "little") != crc32(data):
            return None  # cut off by a full disk, or damaged there
        self._keep_hot(key, data)
        return data

    def put(self, key: str, data: bytes) -> None:
        """Keep a block if that is possible."""
        self._keep_hot(key, data)
        path = self._path(key)
        temporary = path.with_name(f"{path.name}.{threading.get_ident()}.{os.getpid()}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
                file.write(crc32(data).to_bytes(_SUM, "little"))
            temporary.rename(path)
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            return
        # Looking through the whole folder takes time: once for every so many bytes written, by whomever.
        if random.random() * self._limit < len(data) * _CHECKS:
            self._shrink()

    def drop(self, key: str) -> None:
        """Forget a block."""
        with self._lock:
            self._heat -= len(self._hot.pop(key, b""))
        with suppress(OSError):
            self._path(key).unlink()

    def _keep_hot(self, key: str, data: bytes) -> None:
        with self._lock:
            self._heat += len(data) - len(self._hot.pop(key, b""))
            self._hot[key] = data
            while self._heat > _HOT:
                self._heat -= len(self._hot.popitem(last=False)[1])

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / key

    def _shrink(self) -> None:
        found = sorted(self._blocks())
        used = sum(size for _, size, _ in found)
        if used <= self._limit:
            return
        for _, size, path in found:
            if used <= self._limit * _SLACK:
                break
            with suppress(OSError):
                os.unlink(path)
            used -= size

    def _blocks(self) -> Iterator[tuple[int, int, str]]:
        """Yield (time of use, size, path) of all blocks."""
        for folder, _, names in os.walk(self._folder):
            for name in names:
                path = os.path.join(folder, name)
                with suppress(OSError):
                    info = os.stat(path)
                    yield info.st_mtime_ns, info.st_size, path


class CachedArea:
    """An area whose reads go through the cache, block by block."""

    def __init__(self, cache: ObjectCache, area: Readable, scope: str, *, sparing: bool) -> None:
        self._cache, self._area, self._scope = cache, area, scope
        self._tasted: set[tuple[str, int]] | None = set() if sparing else None
        self._lock = threading.Lock()
        self._coming: dict[tuple[str, int], Future[bytes]] = {}

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`; raises like Area.read.

        What is not cached is fetched in whole blocks, neighbouring ones at once; whoever asks for a block
        that is on its way waits for it.
        """
        if not length:
            return b""
        first, last = offset // BLOCK, (offset + length - 1) // BLOCK
        if first == last and length <= _SMALL and self._is_first(name, first):
            return self._area.read(name, offset, length)
        blocks = self._blocks(name, first, last)
        start = offset - first * BLOCK
        if first == last:
            part = blocks[0][start : start + length]
        else:
            blocks[0] = blocks[0][start:]
            blocks[-1] = blocks[-1][: offset + length - last * BLOCK]
            part = b"".join(blocks)
        if len(part) != length:
            self.drop(name, offset, length)
            raise IntegrityError(f"{name} ends before byte {offset + length}: it is truncated")
        return part

    def _is_first(self, name: str, number: int) -> bool:
        """Whether nobody has asked for anything in a block before, as far as is remembered."""
        if self._tasted is None or self._cache.get(self._key(name, number)) is not None:
            return False
        with self._lock:
            if (name, number) in self._tasted or (name, number) in self._coming:
                return False
            if len(self._tasted) >= _TASTED:
                self._tasted.clear()
            self._tasted.add((name, number))
            return True

    def drop(self, name: str, offset: int, length: int) -> None:
        """Forget the blocks of a range: what was in them did not check out."""
        for number in range(offset // BLOCK, (offset + length - 1) // BLOCK + 1):
            self._cache.drop(self._key(name, number))

    def _blocks(self, name: str, first: int, last: int) -> list[bytes]:
        found: dict[int, bytes] = {}
        ours: list[int] = []
        waiting: dict[int, Future[bytes]] = {}
        for number in range(first, last + 1):
            with self._lock:
                coming = self._coming.get((name, number))
                if coming is not None:
                    waiting[number] = coming
                    continue
            data = self._cache.get(self._key(name, number))
            if data is not None:
                found[number] = data
                continue
            with self._lock:
                coming = self._coming.get((name, number))
                if coming is not None:
                    waiting[number] = coming
                else:
                    self._coming[name, number] = Future()
                    ours.append(number)
        found |= self._fetch(name, ours)
        for number, future in waiting.items():
            found[number] = future.result()
        return [found[number] for number in range(first, last + 1)]

    def _fetch(self, name: str, numbers: list[int]) -> dict[int, bytes]:
        """Return blocks that this call announced as coming, for itself and all who wait for them."""
        fetched: dict[int, bytes] = {}
        futures = [self._coming[name, number] for number in numbers]
        try:
            for first, last in _runs(numbers):
                data = self._area.read_up_to(name, first * BLOCK, (last + 1 - first) * BLOCK)
                for number in range(first, last + 1):
                    start = (number - first) * BLOCK
                    fetched[number] = data[start : start + BLOCK]
            for number, block in fetched.items():
                if block:
                    self._cache.put(self._key(name, number), block)
                self._coming[name, number].set_result(block)
        except BaseException as error:
            for future in futures:
                if not future.done():
                    future.set_exception(error)
            raise
        finally:
            with self._lock:
                for number in numbers:
                    del self._coming[name, number]
        return fetched

    def _key(self, name: str, number: int) -> str:
        return sha256(f"{self._scope}/{name}/{number}/{BLOCK}".encode()).hexdigest()[:40]


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of each run of consecutive numbers."""
    start = 0
    for index, number in enumerate(numbers):
        if index + 1 == len(numbers) or numbers[index + 1] != number + 1:
            yield numbers[start], number
            start = index + 1
