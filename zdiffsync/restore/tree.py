"""The tree of one point: the base's directories under the overlay, listed one at a time.

What ls, find, diff, cat, the mount and single-file restores stand on. Rule: asks the base only for
the directories that are looked at, and the catalog once for a whole directory.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from zdiffsync.bases.bases import Bases
from zdiffsync.bases.nodes import BaseNode
from zdiffsync.catalog.catalog import Point
from zdiffsync.catalog.view import Node, PointView, Version
from zdiffsync.format.manifest import IN_BASE
from zdiffsync.model.entry import Entry, EntryType


@dataclass(frozen=True, slots=True)
class Found:
    """One name in a point: its path in the dataset, metadata, and where its bytes are.

    `inode` is the ZFS object number, the same for all names of one object; `links` the number of its
    names (1 for a directory). `content` is a number in the catalog, IN_BASE, or None for what has no
    bytes; `stored` is the base's node where the content is the base's or nothing has changed.
    """

    path: bytes
    entry: Entry
    node: Node
    inode: int
    links: int
    content: int | None
    stored: BaseNode | None

    @property
    def name(self) -> bytes:
        """The last part of the path."""
        return self.path.rpartition(b"/")[2]


class PointTree:
    """The tree of `point`, seen through an open view of it."""

    def __init__(self, view: PointView, bases: Bases, point: Point) -> None:
        self._view, self._bases, self._point = view, bases, point

    def find(self, path: bytes) -> Found | None:
        """Return what stands at `path` (b'' is the root), None when nothing does."""
        node = self._view.resolve(path)
        if node is None:
            return None
        stored = None
        if self._point.restic is not None and node.base_path is not None:
            stored = self._bases.node(self._point.restic, node.base_path)
        found = self._founds({path: node}, {path: stored} if stored else {})
        return found[0] if found else None

    def children(self, directory: Found) -> list[Found]:
        """Return what a directory holds, sorted by name."""
        prefix = directory.path + b"/" if directory.path else b""
        node = directory.node
        base = self._base_names(node)
        overlay = self._view.names(node)
        nodes = {prefix + name: child for name, child in overlay.items() if child is not None}
        if base:
            inside = node.base_path + b"/" if node.base_path else b""
            unnamed = [name for name in base if name not in overlay]
            numbers = self._view.overlaid(inside + name for name in unnamed)
            for name in unnamed:
                nodes[prefix + name] = Node(numbers.get(inside + name), inside + name)
        return self._founds(nodes, self._stored_beside(node, nodes, base))

    def _base_names(self, node: Node) -> Mapping[bytes, BaseNode]:
        if node.base_path is None or self._point.restic is None:
            return {}
        return self._bases.directory(self._point.restic, node.base_path) or {}

    def _stored_beside(
        self, directory: Node, nodes: Mapping[bytes, Node], base: Mapping[bytes, BaseNode]
    ) -> dict[bytes, BaseNode]:
        """Return the base's nodes by path; those moved here from elsewhere are looked up there."""
        stored = {}
        for path, node in nodes.items():
            if node.base_path is None or self._point.restic is None:
                continue
            head, _, name = node.base_path.rpartition(b"/")
            if directory.base_path is not None and head == directory.base_path:
                found = base.get(name)
            else:
                found = self._bases.node(self._point.restic, node.base_path)
            if found is not None:
                stored[path] = found
        return stored

    def _founds(self, nodes: Mapping[bytes, Node], stored: Mapping[bytes, BaseNode]) -> list[Found]:
        numbers = [node.object for node in nodes.values() if node.object is not None]
        versions = self._view.versions(numbers)
        inodes = self._view.zfs_objects(numbers)
        counts = self._view.link_counts(numbers)
        found = []
        for path, node in sorted(nodes.items()):
            base = stored.get(path)
            version = None if node.object is None else versions.get(node.object)
            if version is None and base is None:
                continue  # neither the overlay nor the base has it
            entry = version.entry if version is not None else base.entry  # type: ignore[union-attr]
            inode = base.inode if node.object is None else inodes[node.object]  # type: ignore[union-attr]
            content = _content(version, entry)
            links = self._links(node, counts, entry, base)
            found.append(Found(path, entry, node, inode, links, content, base))
        return found

    def _links(self, node: Node, counts: Mapping[int, int], entry: Entry, base: BaseNode | None) -> int:
        if entry.type is EntryType.DIRECTORY:
            return 1
        if node.object is None:
            return max(1, base.links if base is not None else 1)
        if node.object not in counts:  # only its name in the base leads there, as before
            return max(1, base.links if base is not None else 1)
        if counts[node.object] == 1 and node.base_path is None:
            return 1
        return max(1, len(self._view.paths(node)))


def _content(version: Version | None, entry: Entry) -> int | None:
    if entry.type is not EntryType.FILE:
        return None
    return IN_BASE if version is None else version.content
