"""Walking what a restore gives back, cheaply where the base is untouched.

Under planning and assembling alike. Rule: asks the catalog only about directories in or above which
something changed; a subtree of a million untouched files is read from the base alone.
"""

import os
from collections.abc import Iterator
from functools import cached_property

from zdiffsync.bases.bases import Bases
from zdiffsync.bases.files import BaseFile
from zdiffsync.catalog.catalog import Point
from zdiffsync.catalog.view import Node, PointView
from zdiffsync.errors import IntegrityError
from zdiffsync.format.manifest import IN_BASE
from zdiffsync.model.entry import EntryType
from zdiffsync.restore.tree import Found, PointTree


class Overlay:
    """Which base paths the overlay of a chain touches."""

    def __init__(self, view: PointView) -> None:
        self._view = view

    @cached_property
    def touched(self) -> frozenset[bytes]:
        """The base paths of all its objects, and all directories above them."""
        touched: set[bytes] = set()
        for node in self._view.changed_objects():
            path = node.base_path
            while path is not None and path not in touched:
                touched.add(path)
                path = path.rpartition(b"/")[0] if path else None
        return frozenset(touched)

    def pristine(self, base_path: bytes) -> bool:
        """Whether base and point are the same at and below this base path."""
        return base_path not in self.touched


class Walk:
    """The tree of `point`, directory by directory."""

    def __init__(self, view: PointView, bases: Bases, point: Point) -> None:
        self._bases, self._point = bases, point
        self._tree = PointTree(view, bases, point)
        self._overlay = Overlay(view)

    def find(self, path: bytes) -> Found | None:
        """Return what stands at `path` (b'' is the root), None when nothing does."""
        return self._tree.find(path)

    def base_file(self, path: bytes) -> BaseFile:
        """Open the base's file at a base path. Raises IntegrityError when it has none there."""
        restic = self._point.restic
        node = None if restic is None else self._bases.node(restic, path)
        if node is None:
            raise IntegrityError(f"the base of point {self._point.key} lacks {path!r}, which a file needs")
        return self._bases.file(node)

    def pristine(self, found: Found) -> bool:
        """Whether `found` and all below it are still as in the base."""
        base_path = found.node.base_path
        return found.node.object is None and base_path is not None and self._overlay.pristine(base_path)

    def children(self, directory: Found) -> list[Found]:
        """Return what a directory holds, sorted by name."""
        if directory.stored is None or not directory.stored.subtree or not self.pristine(directory):
            return self._tree.children(directory)
        above, inside = _prefix(directory.path), _prefix(directory.node.base_path or b"")
        return [
            Found(
                above + name, stored.entry, Node(None, inside + name), stored.inode,
                1 if stored.entry.type is EntryType.DIRECTORY else max(1, stored.links),
                IN_BASE if stored.entry.type is EntryType.FILE else None, stored,
            )
            for name, stored in sorted(self._bases.tree(directory.stored.subtree).items())
        ]  # fmt: skip

    def below(self, directory: Found) -> Iterator[Found]:
        """Yield everything below a directory, each directory before what it holds. Raises IntegrityError."""
        entered = Entered()
        entered.add(directory)
        stack = self.children(directory)[::-1]
        while stack:
            found = stack.pop()
            yield found
            if found.entry.type is EntryType.DIRECTORY:
                entered.add(found)
                stack += self.children(found)[::-1]


class Entered:
    """The directories that one walk has been in.

    One that has two names, or lies in itself, would be walked for ever; no file system has any, but a
    crafted manifest may. Only objects of the overlay can: the base is a tree.
    """

    def __init__(self) -> None:
        self._objects: set[int] = set()

    def add(self, directory: Found) -> None:
        """Note that the walk goes into a directory. Raises IntegrityError when it has been there."""
        number = directory.node.object
        if number is None:
            return
        if number in self._objects:
            raise IntegrityError(
                f"directory {os.fsdecode(directory.path)!r} stands in several places or in itself; its "
                "manifests are damaged"
            )
        self._objects.add(number)


def name_in(directory: Found, child: Found) -> bytes:
    """Return the name of `child` in `directory` as it is stored, were it a crafted one with slashes."""
    return child.path[len(_prefix(directory.path)) :]


def _prefix(path: bytes) -> bytes:
    return path + b"/" if path else b""
