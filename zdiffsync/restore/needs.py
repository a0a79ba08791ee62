"""What of the base a restore needs, before anything is fetched.

Second step of the restore flow. Rule: may name too much, never too little.
"""

from dataclasses import dataclass

from zdiffsync.catalog.view import Node, PointView
from zdiffsync.restore.contents import ContentReader


@dataclass(frozen=True, slots=True)
class BaseNeeds:
    """Base paths to fetch with all below them, and those of them that deltas read."""

    paths: frozenset[bytes]
    sources: frozenset[bytes]

    @property
    def everything(self) -> bool:
        """Whether the whole base is needed."""
        return b"" in self.paths


class Overlay:
    """The overlay objects of a point by base path: which parts of the base they touch."""

    def __init__(self, view: PointView) -> None:
        self._view = view
        self._objects = view.changed_objects()
        self.touched: set[bytes] = set()
        for node in self._objects:
            path = node.base_path
            while path is not None and path not in self.touched:
                self.touched.add(path)
                path = path.rpartition(b"/")[0] if path else None

    def pristine(self, base_path: bytes) -> bool:
        """Whether base and point are the same at and below this base path."""
        return base_path not in self.touched

    def needs(self, top: Node, reader: ContentReader) -> BaseNeeds:
        """Return what restoring `top` and all below it takes from the base."""
        paths: set[bytes] = set()
        sources: set[bytes] = set()
        seen: set[int] = set()
        todo = [top]
        while todo:
            node = todo.pop()
            if node.base_path is not None and not _covered(paths, node.base_path):
                paths.add(node.base_path)
                todo += [child for child in self._objects if _below(node.base_path, child.base_path)]
            if node.object is None or node.object in seen:
                continue
            seen.add(node.object)
            version = self._view.version(node.object)
            if version is not None and version.content is not None:
                sources |= reader.sources(version.content)
            todo += [child for child in self._view.names(node).values() if child is not None]
        return BaseNeeds(frozenset(paths | sources), frozenset(sources))


def _covered(paths: set[bytes], path: bytes) -> bool:
    while path not in paths:
        if not path:
            return False
        path = path.rpartition(b"/")[0]
    return True


def _below(top: bytes, path: bytes | None) -> bool:
    return path is not None and (not top or path.startswith(top + b"/")) and path != top
