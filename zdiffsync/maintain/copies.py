"""Where this machine still has the bytes of stored contents: files of local ZFS snapshots.

Under repair. Rule: a file counts as a copy of a content only in the snapshot of a point at which the
catalog says that it has this content, and only with the size and time it then had.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from zdiffsync.catalog.catalog import Catalog, Point
from zdiffsync.catalog.holders import ContentKey, Use
from zdiffsync.errors import ToolError
from zdiffsync.external.tree import SnapshotTree
from zdiffsync.restore.local import Directories


@dataclass(frozen=True, slots=True)
class LocalCopy:
    """A file at `path` of the snapshot of `point`, which lies at `root`."""

    point: Point
    root: bytes
    path: bytes


class LocalCopies:
    """Finds local copies; `directories` tells where a dataset's snapshots are, by guid."""

    def __init__(self, catalog: Catalog, directories: Directories) -> None:
        self._catalog = catalog
        self._points: dict[int, list[tuple[Point, bytes]]] = {}
        found: dict[str, dict[int, bytes]] = {}
        for point in catalog.points():
            if point.dataset not in found:
                found[point.dataset] = directories(point.dataset)
            if (root := found[point.dataset].get(point.guid)) is not None:
                self._points.setdefault(point.chain_id, []).append((point, root))

    def uses(self, contents: Iterable[ContentKey]) -> dict[ContentKey, list[Use]]:
        """Return who has, or had, these contents."""
        wanted: dict[ContentKey, list[Use]] = {content: [] for content in contents}
        with self._catalog.holders() as holders:
            for use in holders.uses(wanted):
                wanted[use.content].append(use)
        return wanted

    def of(self, uses: Iterable[Use]) -> Iterator[LocalCopy]:
        """Yield the copies of a content that has these uses."""
        for use in uses:
            for point, root in self._points.get(use.content.chain, ()):
                if (
                    use.since <= point.sequence < use.until
                    and (path := self._path(point, root, use)) is not None
                ):
                    yield LocalCopy(point, root, path)

    def _path(self, point: Point, root: bytes, use: Use) -> bytes | None:
        with self._catalog.view(point) as view:
            version = view.version(use.object)
            paths = view.paths(view.node(use.object))
        if version is None:
            return None
        try:
            with SnapshotTree(root) as tree:
                for path in paths:
                    info = tree.lstat(path)
                    there = None if info is None else (info.st_size, info.st_mtime_ns)
                    if there == (version.entry.size, version.entry.mtime_ns):
                        return path
        except (ToolError, OSError):  # destroyed meanwhile, or not to be read
            return None
        return None
