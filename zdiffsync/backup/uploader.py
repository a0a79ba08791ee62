"""Uploading packs beside reading: a thread that empties the staging folder as it fills.

Between the packer and the store. Rule: staged bytes stay under the limit (the packer waits), and a
pack counts as done only when the store has verified it.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

from zdiffsync.format.manifest import PackRecord
from zdiffsync.model.progress import Progress
from zdiffsync.store.names import pack_name
from zdiffsync.store.store import Area

# Of fewer bytes most of the time is rclone's start, which says nothing about the line.
_LEAST_MEASURED = 8 << 20


class Uploader:
    """A context manager; leaving it waits for the rest. The first upload error is raised to the caller."""

    def __init__(
        self,
        area: Area,
        stage: Path,
        *,
        space: int,
        progress: Progress,
        on_verified: Callable[[PackRecord], None],
    ) -> None:
        self._area, self._stage = area, stage
        self._space, self._progress, self._on_verified = space, progress, on_verified
        self._queue: list[PackRecord] = []
        self._staged = 0
        self._sent, self._seconds = 0, 0.0
        self._closing = False
        self._error: BaseException | None = None
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="uploader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._change:
            self._closing = True
            if kind is not None:
                self._queue.clear()
            self._change.notify_all()
        self._thread.join()
        if kind is None:
            self._raise()

    @property
    def rate(self) -> int | None:
        """Bytes a second the line has taken; None if too little was uploaded to tell."""
        return int(self._sent / self._seconds) if self._sent >= _LEAST_MEASURED else None

    def submit(self, pack: PackRecord) -> None:
        """Queue a closed pack; waits while the staging folder is full. Raises what an upload raised."""
        with self._change:
            self._queue.append(pack)
            self._staged += pack.size
            self._change.notify_all()
            while self._staged > self._space and self._error is None:
                self._change.wait()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while True:
            with self._change:
                while not self._queue and not self._closing:
                    self._change.wait()
                if not self._queue or self._error is not None:
                    return
                batch, self._queue = self._queue, []
            try:
                self._upload(batch)
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for us
                with self._change:
                    self._error = error
                    self._change.notify_all()
                return

    def _upload(self, batch: list[PackRecord]) -> None:
        names = [pack_name(pack.pack) for pack in batch]
        size = sum(pack.size for pack in batch)
        started = monotonic()
        self._area.upload(self._stage, names, self._progress.advance)
        if size >= _LEAST_MEASURED:
            self._sent += size
            self._seconds += monotonic() - started
        for pack, name in zip(batch, names, strict=True):
            self._on_verified(pack)
            (self._stage / name).unlink()
        with self._change:
            self._staged -= size
            self._change.notify_all()
