"""The directories above the points: datasets, their points by local time, `latest`, `.versions`.

Made anew when points come or go. Rule: all of it is in memory, so listing it asks nobody.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from zdiffsync.catalog.catalog import Point, Root
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.mount.items import Folder, Item, Listing, own_directory, own_inode

LATEST = b"latest"
VERSIONS = b".versions"
_KEY_DIGITS = 6


class FixedFolder(Folder):
    """A directory above the points; it is listed as it was made, and made anew when points change."""

    __slots__ = ("_name",)
    lasting = False

    def __init__(self, inode: int, name: bytes, items: Listing, hidden: Listing) -> None:
        super().__init__(inode)
        self._name = name
        self.listing = dict(sorted(items.items()))
        self.hidden = hidden

    @property
    def place(self) -> str:
        """The dataset's name."""
        return os.fsdecode(self._name) or "the mount"

    def load(self) -> Listing:
        """Return what it was made with."""
        assert self.listing is not None
        return self.listing


class Layout:
    """The tree down to the points' top directories; `items` are all its directories, by inode."""

    def __init__(self, top: Item) -> None:
        self.top = top
        self.items: dict[int, Item] = {}
        self._collect(top)

    def _collect(self, item: Item) -> None:
        self.items[item.inode] = item
        if isinstance(item.folder, FixedFolder):
            for child in (*item.folder.load().values(), *item.folder.hidden.values()):
                self._collect(child)


class LayoutMaker:
    """Makes layouts.

    `top_inode` is the mount's own; `open_point` gives the item of a point's top directory, and is asked
    once for each point; `open_versions` gives that of a dataset's versions for the points it has now.
    """

    def __init__(
        self,
        top_inode: int,
        open_point: Callable[[Point, Root], Item],
        open_versions: Callable[[str, Sequence[Point]], Item],
    ) -> None:
        self._top_inode, self._open_point, self._open_versions = top_inode, open_point, open_versions
        self._tops: dict[int, Item] = {}
        self._owner = (os.geteuid(), os.getegid())

    def make(self, points: Iterable[Point], roots: Mapping[int, Root]) -> Layout:
        """Return the layout of `points`, oldest first, and their `roots` by point id."""
        datasets: dict[str, list[Point]] = {}
        for point in points:
            if point.id in roots:
                datasets.setdefault(point.dataset, []).append(point)
        known = {point.id for found in datasets.values() for point in found}
        self._tops = {number: item for number, item in self._tops.items() if number in known}
        nested: dict[bytes, set[bytes]] = {b"": set()}
        for dataset in datasets:
            path = b""
            for name in os.fsencode(dataset).split(b"/"):
                below = path + b"/" + name if path else name
                nested[path].add(name)
                nested.setdefault(below, set())
                path = below
        return Layout(self._directory(b"", nested, datasets, roots))

    def _directory(
        self,
        path: bytes,
        nested: Mapping[bytes, set[bytes]],
        datasets: Mapping[str, list[Point]],
        roots: Mapping[int, Root],
    ) -> Item:
        dataset = os.fsdecode(path)
        points = datasets.get(dataset, [])
        items = self._points(path, points, roots)
        for name in nested[path]:  # a dataset's name stands before a point's
            items[name] = self._directory(path + b"/" + name if path else name, nested, datasets, roots)
        newest = max((item.entry.mtime_ns for name, item in items.items() if name in nested[path]), default=0)
        if points:
            newest = max(newest, points[-1].created_ns)
        # Like .zfs it is not listed, or whatever walks the tree would walk through all of it twice.
        hidden = {VERSIONS: self._open_versions(dataset, points)} if points else {}
        inode = own_inode(b"dataset", path) if path else self._top_inode
        return Item(
            inode, own_directory(newest, *self._owner), folder=FixedFolder(inode, path, items, hidden)
        )

    def _points(self, path: bytes, points: list[Point], roots: Mapping[int, Root]) -> dict[bytes, Item]:
        if not points:
            return {}
        items = {name: self._top(point, roots[point.id]) for name, point in point_names(points).items()}
        latest = Entry(EntryType.SYMLINK, 0o777, *self._owner, points[-1].created_ns, target=[*items][-1])
        items[LATEST] = Item(own_inode(b"latest", path), latest)
        return items

    def _top(self, point: Point, root: Root) -> Item:
        if point.id not in self._tops:
            self._tops[point.id] = self._open_point(point, root)
        return self._tops[point.id]


def point_names(points: Iterable[Point]) -> dict[bytes, Point]:
    """Return the directory names of one dataset's points: their local time; the key tells twins apart."""
    names: dict[bytes, Point] = {}
    for point in points:
        name = f"{datetime.fromtimestamp(point.created_ns // 10**9).astimezone():%Y-%m-%d_%H-%M-%S}".encode()
        if name in names:
            name += f"_{point.key[:_KEY_DIGITS]}".encode()
        names[name] = point
    return names
