"""Directories of a point, as the mount lists them.

Between `restore.tree` and the file system. Rule: one view of the catalog for each directory, closed
before anything is given out.
"""

import hashlib
from dataclasses import dataclass

from zdiffsync.bases.bases import Bases
from zdiffsync.catalog.catalog import Catalog, Point, Root
from zdiffsync.catalog.view import Node
from zdiffsync.format.manifest import IN_BASE
from zdiffsync.model.bytesource import ByteSource
from zdiffsync.model.entry import EntryType
from zdiffsync.mount.items import Folder, Item, Listing, point_inode
from zdiffsync.restore.contents import FetchBlob
from zdiffsync.restore.files import PointFiles
from zdiffsync.restore.local import LocalSnapshots
from zdiffsync.restore.tree import Found, PointTree

_BLOCK = 512
_ZEROS = 512 << 10  # bytes; restic cuts runs of zeros into chunks of this size
_ZERO_CHUNK = hashlib.sha256(bytes(_ZEROS)).digest()


@dataclass(frozen=True, slots=True)
class Source:
    """Where points and their bytes come from."""

    catalog: Catalog
    bases: Bases
    fetch: FetchBlob
    local: LocalSnapshots | None


@dataclass(frozen=True, slots=True)
class PointContent:
    """The bytes of one file of a point."""

    source: Source
    point: Point
    found: Found

    @property
    def place(self) -> str:
        """Point and path, for messages."""
        return _place(self.point, self.found.path)

    def open(self) -> ByteSource:
        """Open them. Raises IntegrityError, ObjectMissingError, RemoteError, CatalogError."""
        source = self.source
        with source.catalog.view(self.point) as view:
            return PointFiles(view, source.bases, self.point, source.fetch, source.local).open(self.found)


class PointFolder(Folder):
    """One directory of a point."""

    __slots__ = ("_found", "_point", "_source")

    def __init__(self, source: Source, point: Point, found: Found) -> None:
        super().__init__(point_inode(point.id, found.inode))
        self._source, self._point, self._found = source, point, found

    @property
    def place(self) -> str:
        """Point and path, for messages."""
        return _place(self._point, self._found.path)

    def load(self) -> Listing:
        """Return its items, sorted by name. Raises CatalogError, RemoteError, IntegrityError."""
        source, point = self._source, self._point
        with source.catalog.view(point) as view:
            children = PointTree(view, source.bases, point).children(self._found)
        return {found.name: point_item(source, point, found) for found in children}


def point_item(source: Source, point: Point, found: Found) -> Item:
    """Return what a name in a point leads to."""
    kind = found.entry.type
    return Item(
        point_inode(point.id, found.inode),
        found.entry,
        found.links,
        _blocks(found),
        PointFolder(source, point, found) if kind is EntryType.DIRECTORY else None,
        PointContent(source, point, found) if kind is EntryType.FILE else None,
    )


def root_item(source: Source, point: Point, root: Root) -> Item:
    """Return the top directory of a point."""
    node = Node(root.object, b"")
    return point_item(source, point, Found(b"", root.entry, node, root.zfs_object, 1, None, None))


def _blocks(found: Found) -> int:
    if found.content is None:
        return 0
    size = found.entry.size
    if found.content == IN_BASE and found.stored is not None:
        size -= min(size, _ZEROS * found.stored.content.count(_ZERO_CHUNK))
    return -(-size // _BLOCK)


def _place(point: Point, path: bytes) -> str:
    return f"{point.key}:/{path.decode(errors='backslashreplace')}"
