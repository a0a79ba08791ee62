"""Listing a point's directories: the base's own listing under the overlay.

What `ls` and dry runs of `restore` show. Rule: the base is asked only for directories that are
looked at, or once for all when everything is wanted.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from zdiffsync.catalog.catalog import Point
from zdiffsync.catalog.view import Node, PointView
from zdiffsync.errors import ResticError
from zdiffsync.external.restic import Restic
from zdiffsync.model.entry import Entry, EntryType


@dataclass(frozen=True, slots=True)
class Found:
    """One entry of a listing: its path in the dataset, metadata and place in the tree."""

    path: bytes
    entry: Entry
    node: Node


class Browser:
    """The tree of one point, listed lazily."""

    def __init__(self, view: PointView, restic: Restic, point: Point) -> None:
        self._view, self._restic, self._point = view, restic, point
        self._base: dict[bytes, dict[bytes, Entry]] = {}

    def entry(self, path: bytes, node: Node) -> Found | None:
        """Return the entry at `node`, None when the base does not have it."""
        if node.object is not None and (version := self._view.version(node.object)) is not None:
            return Found(path, version.entry, node)
        if not node.base_path:
            return None
        head, _, name = node.base_path.rpartition(b"/")
        entry = self._base_names(head).get(name)
        return None if entry is None else Found(path, entry, node)

    def children(self, path: bytes, node: Node) -> list[Found]:
        """Return the entries of directory `node` at `path`, by name."""
        overlay = self._view.names(node)
        base = self._base_names(node.base_path) if node.base_path is not None else {}
        found = []
        for name in sorted(overlay.keys() | base.keys()):
            child = overlay[name] if name in overlay else self._view.child(node, name)
            if child is None:
                continue
            entry = self.entry(path + b"/" + name if path else name, child)
            if entry is not None:
                found.append(entry)
        return found

    def below(self, path: bytes, node: Node) -> Iterator[Found]:
        """Yield everything below directory `node`, each directory before its content."""
        self._load_all(node)
        stack = self.children(path, node)[::-1]
        while stack:
            found = stack.pop()
            yield found
            if found.entry.type is EntryType.DIRECTORY:
                stack += self.children(found.path, found.node)[::-1]

    def _load_all(self, node: Node) -> None:
        if node.base_path is None or self._point.restic is None:
            return
        top = node.base_path
        self._base.setdefault(top, {})
        for path, item in self._restic.listing(self._point.restic, top):
            full = top + b"/" + path if top else path
            head, _, name = full.rpartition(b"/")
            self._base.setdefault(head, {})[name] = Entry(
                item.type, item.mode, item.uid, item.gid, item.mtime_ns, item.size
            )
            if item.type is EntryType.DIRECTORY:
                self._base.setdefault(full, {})

    def _base_names(self, path: bytes) -> dict[bytes, Entry]:
        if path not in self._base:
            self._base[path] = self._list_base(path)
        return self._base[path]

    def _list_base(self, path: bytes) -> dict[bytes, Entry]:
        if self._point.restic is None:
            return {}
        try:
            return {item.name: item.entry for item in self._restic.tree(self._point.restic, path)}
        except ResticError:
            # Looking at all directories above first would cost a restic call each, so only now.
            head, _, name = path.rpartition(b"/")
            above = self._base_names(head).get(name) if path else None
            if not path or (above is not None and above.type is EntryType.DIRECTORY):
                raise
            return {}
