"""Blobs out of packs: the ranges a restore needs, downloaded beside the writing and kept until used.

Between planning, which names the blobs, and the readers, which ask for them. Rule: what lies in the
folder under its final name is complete, so an interrupted restore goes on from it.
"""

import os
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol, Self

from zdiffsync.errors import IntegrityError, ObjectMissingError
from zdiffsync.format.windows import BlobRef
from zdiffsync.store.names import pack_name

_GAP = 256 << 10  # bytes nobody needs that are cheaper to download than another request
_WHOLE = 0.5  # from this share of a pack on all of it is downloaded
_AT_ONCE = 16 << 20  # bytes of one request
_AHEAD = 1 << 30  # bytes that may lie in the folder


class BlobArea(Protocol):
    """What pieces are read from: an Area, or one that opens itself when it is needed."""

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`; see Area.read."""


@dataclass(frozen=True, slots=True, order=True)
class Piece:
    """A range of a pack that is downloaded in one go; `offset` and `length` in bytes."""

    pack: str
    offset: int
    length: int

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.pack}.{self.offset}.{self.length}"


def pieces(blobs: Mapping[str, Iterable[BlobRef]], sizes: Mapping[str, int]) -> Iterator[Piece]:
    """Yield what to download for these blobs; `sizes` are those of the packs in bytes."""
    for pack, wanted in blobs.items():
        ranges = sorted((blob.offset, blob.offset + blob.length) for blob in wanted)
        if sum(end - start for start, end in ranges) >= _WHOLE * sizes[pack]:
            yield Piece(pack, 0, sizes[pack])
            continue
        first, last = ranges[0]
        for start, end in ranges[1:]:
            if start > last + _GAP:
                yield Piece(pack, first, last - first)
                first = start
            last = max(last, end)
        yield Piece(pack, first, last - first)


class RangedPacks:
    """Fetches each blob alone: the way for one file."""

    def __init__(self, area: BlobArea) -> None:
        self._area = area

    def fetch(self, blob: BlobRef) -> bytes:
        """Return the bytes of a blob. Raises ObjectMissingError, IntegrityError, RemoteError."""
        return self._area.read(pack_name(blob.pack), blob.offset, blob.length)


class FetchedPacks:
    """Downloads `wanted` into `folder` in their order, `transfers` at once, and reads blobs from them.

    `fetch` reads blobs that are in no piece.

    At most `ahead` bytes (and one piece more a transfer) lie there; used ones give way first. A context
    manager; leaving it ends the downloads and leaves the files.
    """

    def __init__(
        self,
        area: BlobArea,
        folder: Path,
        wanted: Iterable[Piece],
        *,
        fetch: Callable[[BlobRef], bytes],
        transfers: int,
        ahead: int = _AHEAD,
    ) -> None:
        self._area, self._folder, self._fetch, self._ahead = area, folder, fetch, ahead
        self._queue = deque(wanted)
        self._pieces: dict[str, list[Piece]] = {}
        for piece in sorted(self._queue):
            self._pieces.setdefault(piece.pack, []).append(piece)
        self._futures: dict[Piece, Future[None]] = {}
        self._used: dict[Piece, None] = {}
        self._held = 0
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._pool = ThreadPoolExecutor(transfers, thread_name_prefix="packs")

    def __enter__(self) -> Self:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock:
            self._pump()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._ending.set()
        self._pool.shutdown(cancel_futures=True)

    def fetch(self, blob: BlobRef) -> bytes:
        """Return the bytes of a blob. Raises ObjectMissingError, IntegrityError, RemoteError."""
        piece = self._piece(blob)
        # A damaged block must not cost the blobs beside it, nor a file lost from the folder anything.
        with suppress(IntegrityError, ObjectMissingError, FileNotFoundError):
            if piece is None:
                return self._fetch(blob)
            self._start(piece).result()
            return self._read(piece, blob)
        return self._area.read(pack_name(blob.pack), blob.offset, blob.length)

    def _piece(self, blob: BlobRef) -> Piece | None:
        of_pack = self._pieces.get(blob.pack, [])
        number = bisect_right(of_pack, blob.offset, key=lambda piece: piece.offset) - 1
        if number < 0 or blob.offset + blob.length > of_pack[number].offset + of_pack[number].length:
            return None
        return of_pack[number]

    def _start(self, piece: Piece) -> "Future[None]":
        with self._lock:
            if piece not in self._futures:
                with suppress(ValueError):
                    self._queue.remove(piece)
                self._submit(piece)
            return self._futures[piece]

    def _read(self, piece: Piece, blob: BlobRef) -> bytes:
        with (self._folder / piece.file).open("rb") as file:
            file.seek(blob.offset - piece.offset)
            data = file.read(blob.length)
        if len(data) != blob.length:
            raise IntegrityError(f"pack {blob.pack} ends before byte {blob.offset + blob.length}")
        with self._lock:
            self._used.setdefault(piece)
            self._pump()
        return data

    def _pump(self) -> None:
        """Start what there is room for, dropping used pieces where there is none."""
        while self._queue:
            while self._held and self._held + self._queue[0].length > self._ahead:
                if not self._used:
                    return
                oldest = next(iter(self._used))
                del self._used[oldest]
                (self._folder / oldest.file).unlink(missing_ok=True)
                self._held -= oldest.length
            self._submit(self._queue.popleft())

    def _submit(self, piece: Piece) -> None:
        self._held += piece.length
        self._futures[piece] = self._pool.submit(self._download, piece)

    def _download(self, piece: Piece) -> None:
        final = self._folder / piece.file
        if final.exists():
            return
        partial = self._folder / _partial(piece)
        with partial.open("ab") as out:
            done = out.tell()
            while done < piece.length and not self._ending.is_set():
                data = self._area.read(
                    pack_name(piece.pack), piece.offset + done, min(_AT_ONCE, piece.length - done)
                )
                out.write(data)
                done += len(data)
            if done < piece.length:
                return  # the restore is over; what came stays for the next one
            out.flush()
            os.fsync(out.fileno())
        partial.rename(final)


def fetched(folder: Path, piece: Piece) -> int:
    """Return how many bytes of a piece lie in `folder` already."""
    for name in (piece.file, _partial(piece)):
        with suppress(FileNotFoundError):
            return (folder / name).stat().st_size
    return 0


def _partial(piece: Piece) -> str:
    return f"{piece.file}.{boot()}.partial"


@cache
def boot() -> str:
    """Return what tells apart files written since the machine started: only they survived whole."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]
