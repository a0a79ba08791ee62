"""Stored contents as readable bytes: fetched by range, patched, every byte checked.

Between the catalog, the packs and whoever reads a file. Rule: a reader either gives the right bytes
or raises IntegrityError naming the content and its pack.
"""

import hashlib
from collections.abc import Callable
from threading import Lock

from zdiffsync.catalog.view import PointView
from zdiffsync.errors import IntegrityError
from zdiffsync.format.delta_reader import WindowedReader
from zdiffsync.format.manifest import IN_BASE, ContentRecord
from zdiffsync.format.manifest_values import MAX_DEPTH
from zdiffsync.format.windows import BlobRef
from zdiffsync.format.zstd import decompress
from zdiffsync.model.bytesource import ByteSource, Hint

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


class WholeContent:
    """A content stored in one blob, fetched at the first read that no hint answers. Thread-safe."""

    def __init__(self, record: ContentRecord, fetch: FetchBlob) -> None:
        self._record, self._fetch = record, fetch
        self._data: bytes | None = None
        self._lock = Lock()

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._record.size

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`. Raises IntegrityError, ObjectMissingError, RemoteError."""
        return self._whole(None)[offset : offset + length]

    def read_hinted(self, offset: int, length: int, hint: Hint) -> bytes:
        """Like `read`; a hint that has the whole content right spares fetching it."""
        return self._whole(hint)[offset : offset + length]

    def _whole(self, hint: Hint | None) -> bytes:
        with self._lock:
            if self._data is None and hint is not None:
                self._data = hint.take(0, self.size, self._fits)
            if self._data is None:
                self._data = self._fetched()
            return self._data

    def _fits(self, data: bytes) -> bool:
        return hashlib.sha256(data).hexdigest() == self._record.digest

    def _fetched(self) -> bytes:
        location = self._record.location
        try:
            data = decompress(self._fetch(location), self.size)
        except IntegrityError as error:
            raise IntegrityError(f"{_place(self._record)}: {error}") from error
        if len(data) != self.size or not self._fits(data):
            raise IntegrityError(f"{_place(self._record)} does not match its digest")
        return data


class ContentReader:
    """Opens contents of one chain. `fetch` reads blobs, `open_base` files of the base by base path."""

    def __init__(self, view: PointView, fetch: FetchBlob, open_base: OpenBase) -> None:
        self._view, self._fetch, self._open_base = view, fetch, open_base

    def open(self, number: int, base_path: bytes | None = None) -> ByteSource:
        """Return content `number`; IN_BASE stands for the base's file at `base_path`.

        Raises IntegrityError, ObjectMissingError, RemoteError; also later, from `read`.
        """
        return self.opened(self.records(number), base_path)

    def records(self, number: int) -> tuple[ContentRecord, ...]:
        """Return content `number` and all it is a delta of, newest first: what needs the catalog."""
        records: list[ContentRecord] = []
        while number != IN_BASE:
            records.append(self._view.content(number))
            if records[-1].source is None:
                break
            number = records[-1].source
            if len(records) > MAX_DEPTH:
                raise IntegrityError(
                    f"content {records[0].number} is a delta of more than {MAX_DEPTH} others"
                )
        return tuple(records)

    def opened(self, records: tuple[ContentRecord, ...], base_path: bytes | None) -> ByteSource:
        """Open what `records` found, without the catalog, from any thread; no records: the base's file."""
        if not records:
            if base_path is None:
                raise IntegrityError("a content is said to be in the base, but at no path")
            return self._open_base(base_path)
        record = records[0]
        if not record.windowed:
            return WholeContent(record, self._fetch)
        old = None if record.source is None else self.opened(records[1:], record.source_path)
        return WindowedReader(self.table(record), old, self._fetch)

    def table(self, record: ContentRecord) -> bytes:
        """Return the encoded op table of a windowed content. Raises like `open`."""
        table = self._fetch(record.location)
        if hashlib.sha256(table).hexdigest() != record.digest:
            raise IntegrityError(f"{_place(record)} does not match its digest")
        return table


def _place(record: ContentRecord) -> str:
    return f"content {record.number} in pack {record.location.pack}"
