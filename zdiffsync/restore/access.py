"""Reading single files of a point without staging its base: what `cat` needs.

Rule: base files come from restic whole, into a private temporary folder that is gone afterwards.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import BinaryIO, Self

from zdiffsync.catalog.catalog import Point
from zdiffsync.catalog.view import Node, PointView
from zdiffsync.external.files import FileSource
from zdiffsync.external.restic import Restic
from zdiffsync.format.manifest import IN_BASE
from zdiffsync.restore.contents import ContentReader
from zdiffsync.restore.packs import RangedPacks
from zdiffsync.store.store import Store

_BLOCK = 4 << 20


class PointAccess:
    """One point's files, readable one at a time."""

    def __init__(self, store: Store, restic: Restic, point: Point, view: PointView) -> None:
        self._restic, self._point, self._view = restic, point, view
        self._folder = TemporaryDirectory(prefix="zdiffsync-")
        self._open: list[int] = []
        self._reader = ContentReader(view, RangedPacks(store.data).fetch, self._base_file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fd in self._open:
            os.close(fd)
        self._folder.cleanup()

    def copy(self, node: Node, out: BinaryIO) -> None:
        """Write the file at `node`, which the caller knows to be one, to `out`. Raises IntegrityError."""
        version = self._view.version(node.object) if node.object is not None else None
        content = IN_BASE if version is None else version.content
        if content is None:
            return
        if content == IN_BASE:
            assert node.base_path is not None, "an object without version is in the base"
            self._dump(node.base_path, out)
            return
        source = self._reader.open(content, node.base_path)
        out.writelines(source.read(at, min(_BLOCK, source.size - at)) for at in range(0, source.size, _BLOCK))

    def _dump(self, path: bytes, out: BinaryIO) -> None:
        assert self._point.restic is not None, "a path in the base is in restic"
        self._restic.dump(self._point.restic, path, out)

    def _base_file(self, path: bytes) -> FileSource:
        target = Path(self._folder.name) / str(len(self._open))
        with target.open("wb") as out:
            self._dump(path, out)
        fd = os.open(target, os.O_RDONLY)
        self._open.append(fd)
        return FileSource(fd)
