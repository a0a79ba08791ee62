"""`.versions` of a dataset: every path there ever was, as a directory of its versions.

Beside the points, upon restore.history. Rule: a version is named by the first point that has it, and is
the very file of a point, so nothing is stored or read twice.
"""

import os
from collections.abc import Sequence
from threading import Lock

from zdiffsync.catalog.catalog import Point
from zdiffsync.model.entry import EntryType
from zdiffsync.mount.items import Folder, Item, Listing, own_directory, own_inode
from zdiffsync.mount.layout import point_names
from zdiffsync.mount.points import Source, point_item
from zdiffsync.restore.history import FileVersion, TimeLine

Types = frozenset[EntryType]

_DIRECTORY = frozenset({EntryType.DIRECTORY})
_ANYTHING = frozenset(EntryType)


class Versions:
    """All versions in one dataset, for as long as the mount lasts. Thread-safe."""

    def __init__(self, source: Source, dataset: str) -> None:
        self.source, self.dataset = source, dataset
        self.generation = 0
        self.newest_ns = 0
        self._names: dict[int, bytes] = {}
        self._line: TimeLine | None = None
        self._lock = Lock()
        self._top = VersionsFolder(self, b"", 0, _DIRECTORY)

    def top(self, points: Sequence[Point]) -> Item:
        """Return the directory of all paths, for the points the dataset has now, oldest first."""
        names = {point.id: name for name, point in point_names(points).items()}
        with self._lock:
            if names != self._names:
                self._names, self._line, self.newest_ns = names, None, points[-1].created_ns
                self.generation += 1
        return self.item(self._top)

    def item(self, folder: "VersionsFolder") -> Item:
        """Return one of the directories as an item."""
        entry = own_directory(self.newest_ns, os.geteuid(), os.getegid())
        return Item(folder.inode, entry, folder=folder)

    def line(self) -> tuple[int, TimeLine, dict[int, bytes]]:
        """Return the present generation, its time line, and the directory names of points by id."""
        with self._lock:
            if self._line is None:
                self._line = TimeLine(self.source.catalog, self.source.bases, self.dataset)
            return self.generation, self._line, self._names


class VersionsFolder(Folder):
    """One path: what was ever below it, and the versions of what was ever there but directories."""

    __slots__ = ("_generation", "_path", "_types", "_versions")
    lasting = False

    def __init__(self, versions: Versions, path: bytes, generation: int, types: Types) -> None:
        """`types` are what `path` was in the points of that `generation`."""
        super().__init__(own_inode(b"versions", versions.dataset.encode(), path))
        self._versions, self._path = versions, path
        self._generation, self._types = generation, types

    @property
    def place(self) -> str:
        """Dataset and path, for messages."""
        return f"{self._versions.dataset}/.versions/{self._path.decode(errors='backslashreplace')}"

    @property
    def outdated(self) -> bool:
        """Whether points have come or gone since it was loaded."""
        return self._generation != self._versions.generation

    def load(self) -> Listing:
        """Return its items. Raises CatalogError, RemoteError, IntegrityError."""
        generation, line, names = self._versions.line()
        types = self._types if generation == self._generation else _ANYTHING
        inside = self._path + b"/" if self._path else b""
        below = line.names(self._path) if EntryType.DIRECTORY in types else {}
        items = {
            name: self._versions.item(VersionsFolder(self._versions, inside + name, generation, below[name]))
            for name in sorted(below)
        }
        _, extension = os.path.splitext(self._path.rpartition(b"/")[2])
        for version in line.versions(self._path) if types != _DIRECTORY else ():
            if version.entry.type is not EntryType.DIRECTORY and version.points[0].id in names:
                items.setdefault(names[version.points[0].id] + extension, self._file(version))
        self._generation, self._types = generation, types
        return items

    def _file(self, version: FileVersion) -> Item:
        last = version.points[-1]
        # Later points may have it, too: the number it goes by should not change with each of them.
        point = next(point for point in version.points if point.chain_id == last.chain_id)
        return point_item(self._versions.source, point, version.found)
