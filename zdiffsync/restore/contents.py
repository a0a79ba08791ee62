"""Stored contents as readable bytes: fetched by range, patched, every byte checked.

Between the catalog, the packs and whoever reads a file. Rule: a reader either gives the right bytes
or raises IntegrityError naming the content and its pack.
"""

import hashlib
from collections.abc import Callable

from zdiffsync.catalog.view import PointView
from zdiffsync.errors import IntegrityError
from zdiffsync.format.delta_reader import WindowedReader
from zdiffsync.format.manifest import IN_BASE, ContentRecord
from zdiffsync.format.windows import BlobRef
from zdiffsync.format.zstd import decompress
from zdiffsync.model.bytesource import ByteSource

FetchBlob = Callable[[BlobRef], bytes]
OpenBase = Callable[[bytes], ByteSource]


class MemorySource:
    """Bytes at hand as a ByteSource."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self._data)

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`."""
        return self._data[offset : offset + length]


class ContentReader:
    """Opens contents of one chain. `fetch` reads blobs, `open_base` files of the base by base path."""

    def __init__(self, view: PointView, fetch: FetchBlob, open_base: OpenBase) -> None:
        self._view, self._fetch, self._open_base = view, fetch, open_base

    def open(self, number: int, base_path: bytes | None = None) -> ByteSource:
        """Return content `number`; IN_BASE stands for the base's file at `base_path`.

        Raises IntegrityError, ObjectMissingError, RemoteError; also later, from `read`.
        """
        if number == IN_BASE:
            if base_path is None:
                raise IntegrityError("a content is said to be in the base, but at no path")
            return self._open_base(base_path)
        record = self._view.content(number)
        if not record.windowed:
            return MemorySource(self._plain(record))
        table = self._fetch(record.blob)
        self._check(record, hashlib.sha256(table).hexdigest())
        old = None if record.source is None else self.open(record.source, record.source_path)
        return WindowedReader(table, old, self._fetch)

    def sources(self, number: int) -> set[bytes]:
        """Return the base paths that reading content `number` needs."""
        needed: set[bytes] = set()
        while number != IN_BASE:
            record = self._view.content(number)
            if record.source is None:
                return needed
            if record.source_path is not None:
                needed.add(record.source_path)
            number = record.source
        return needed

    def _plain(self, record: ContentRecord) -> bytes:
        data = decompress(self._fetch(record.blob), record.size)
        self._check(record, hashlib.sha256(data).hexdigest())
        return data

    def _check(self, record: ContentRecord, digest: str) -> None:
        if digest != record.digest:
            raise IntegrityError(
                f"content {record.number} in pack {record.blob.pack} does not match its digest"
            )
