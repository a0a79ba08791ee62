"""Packs: many blobs gathered into one local file, handed on when it is large enough.

Between the readers of changed files and the uploader. Rule: a blob never moves once it has an
address, and a pack is never written again once it is handed on.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from zdiffsync.format.manifest import PackRecord
from zdiffsync.format.windows import PACK_MAGIC, BlobRef
from zdiffsync.model.staging import staging
from zdiffsync.store.names import new_pack_id, pack_name


class Packer:
    """Gathers blobs under `stage`; `hand_on` receives each full pack and may block to bound space.

    A context manager: leaving it drops a pack that was not handed on.
    """

    def __init__(self, stage: Path, target: int, hand_on: Callable[[PackRecord], None]) -> None:
        self._stage, self._target, self._hand_on = stage, target, hand_on
        self._file: BinaryIO | None = None
        self._key = ""
        self._size = 0
        self._digest = hashlib.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with suppress(OSError):  # it could not be written, which somebody has been told
                self._file.close()

    def put(self, payload: bytes) -> BlobRef:
        """Add one blob and return its address (offset and length in bytes).

        Raises StagingError, after which this packer is of no more use, and what `hand_on` raises.
        """
        if self._file is None:
            self._open()
        at = BlobRef(self._key, self._size, len(payload))
        self._write(payload)
        if self._size >= self._target:
            self.flush()
        return at

    def flush(self) -> None:
        """Hand on the open pack, however small; raises like `put`."""
        if self._file is None:
            return
        with staging(self._stage):
            self._file.close()
        self._file = None
        self._hand_on(PackRecord(self._key, self._size, self._digest.hexdigest()))

    def _open(self) -> None:
        self._key = new_pack_id()
        path = self._stage / pack_name(self._key)
        with staging(self._stage):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("xb")
        self._size = 0
        self._digest = hashlib.sha256()
        self._write(PACK_MAGIC)

    def _write(self, data: bytes) -> None:
        assert self._file is not None, "opened by put"
        with staging(self._stage):
            self._file.write(data)
        self._digest.update(data)
        self._size += len(data)


class CountingSink:
    """Passes blobs on and remembers how many bytes went into which pack."""

    def __init__(self, packer: Packer) -> None:
        self._packer = packer
        self.packs: dict[str, int] = {}

    @property
    def stored(self) -> int:
        """Bytes in all packs."""
        return sum(self.packs.values())

    def put(self, payload: bytes) -> BlobRef:
        """Pass one blob on; return its address."""
        blob = self._packer.put(payload)
        self.packs[blob.pack] = self.packs.get(blob.pack, 0) + blob.length
        return blob
