"""Opening files of a point for reading at any offset, every byte checked, nothing fetched before it is read.

Behind cat, the mount and single-file restores. Rule: opening costs no content, reading only what is asked.
"""

from zdiffsync.bases.bases import Bases
from zdiffsync.bases.files import BaseFile
from zdiffsync.catalog.catalog import Point
from zdiffsync.catalog.view import PointView
from zdiffsync.errors import IntegrityError
from zdiffsync.format.manifest import IN_BASE
from zdiffsync.model.bytesource import ByteSource, WithHint
from zdiffsync.restore.contents import ContentReader, FetchBlob, MemorySource
from zdiffsync.restore.local import LocalSnapshots
from zdiffsync.restore.tree import Found


class PointFiles:
    """Opens files of one point through an open view; what it opened works on after the view is closed.

    `fetch` reads blobs of our packs, `local` (None: not wanted) knows snapshots to take bytes from instead.
    """

    def __init__(
        self, view: PointView, bases: Bases, point: Point, fetch: FetchBlob, local: LocalSnapshots | None
    ) -> None:
        self._bases, self._point, self._local = bases, point, local
        self._reader = ContentReader(view, fetch, self._base_file)

    def open(self, found: Found) -> ByteSource:
        """Open a file. Raises IntegrityError, ObjectMissingError, RemoteError; also later, from `read`."""
        if found.content is None:
            return MemorySource(b"")
        hint = None if self._local is None else self._local.hint(self._point, found)
        source = self._stored(found, found.content)
        return source if hint is None else WithHint(source, hint)

    def _stored(self, found: Found, content: int) -> ByteSource:
        if found.stored is not None and found.node.base_path is not None and content == IN_BASE:
            return self._bases.file(found.stored)
        return self._reader.open(content, found.node.base_path)

    def _base_file(self, path: bytes) -> BaseFile:
        restic = self._point.restic
        node = None if restic is None else self._bases.node(restic, path)
        if node is None:
            raise IntegrityError(f"the base of point {self._point.key} lacks {path!r}, which a file needs")
        return self._bases.file(node)
