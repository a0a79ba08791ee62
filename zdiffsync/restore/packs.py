"""Blobs out of packs: by range for a few, by whole pack where many are wanted.

Rule: what is cached on disk is bounded, and gone when the reader is closed.
"""

from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import Self

from zdiffsync.errors import IntegrityError
from zdiffsync.format.windows import BlobRef
from zdiffsync.store.names import pack_name
from zdiffsync.store.store import Area


class RangedPacks:
    """Fetches each blob alone: the way for one file."""

    def __init__(self, area: Area) -> None:
        self._area = area

    def fetch(self, blob: BlobRef) -> bytes:
        """Return the bytes of a blob. Raises ObjectMissingError, IntegrityError, RemoteError."""
        return self._area.read(pack_name(blob.pack), blob.offset, blob.length)


class CachedPacks:
    """Downloads whole packs into `folder`, keeping the last `keep` of them: the way for whole trees."""

    def __init__(self, area: Area, folder: Path, keep: int = 8) -> None:
        self._area, self._folder, self._keep = area, folder, keep
        self._held: OrderedDict[str, Path] = OrderedDict()

    def __enter__(self) -> Self:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._held:
            self._drop()

    def fetch(self, blob: BlobRef) -> bytes:
        """Return the bytes of a blob. Raises ObjectMissingError, IntegrityError, RemoteError."""
        path = self._held.get(blob.pack)
        if path is None:
            path = self._folder / blob.pack
            self._area.download(pack_name(blob.pack), path, lambda _done: None)
            self._held[blob.pack] = path
            if len(self._held) > self._keep:
                self._drop()
        self._held.move_to_end(blob.pack)
        with path.open("rb") as file:
            file.seek(blob.offset)
            data = file.read(blob.length)
        if len(data) != blob.length:
            raise IntegrityError(
                f"pack {blob.pack} ends before byte {blob.offset + blob.length}; it is truncated"
            )
        return data

    def _drop(self) -> None:
        _, path = self._held.popitem(last=False)
        path.unlink(missing_ok=True)
