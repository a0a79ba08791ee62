"""One point's tree as the catalog knows it: the overlay above the base.

Used by the run (what was here before?), by ls, cat and restore (what is here?).
Rule: answers only for the overlay. A Node that has a base path but no object may or may not exist
in the base; who needs to know asks restic.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Executable, Row, select

from zdiffsync.catalog import statements
from zdiffsync.catalog.prepared import Prepared
from zdiffsync.catalog.schema import ObjectRow, PackRow
from zdiffsync.catalog.values import row_content, row_entry
from zdiffsync.errors import CatalogError, IntegrityError
from zdiffsync.format.manifest import ContentRecord, PackRecord
from zdiffsync.model.entry import Entry

_Item = TypeVar("_Item")
_AT_ONCE = 500  # values in one statement


@dataclass(frozen=True, slots=True)
class Node:
    """A place in the tree: the overlay's object number (or None) and the base path (or None)."""

    object: int | None
    base_path: bytes | None


@dataclass(frozen=True, slots=True)
class Version:
    """What the overlay says of an object at the point."""

    entry: Entry
    content: int | None


class PointView:
    """The tree of `sequence` in one chain, through an open connection."""

    def __init__(self, connection: Connection, chain: int, sequence: int) -> None:
        self._connection = connection
        self.chain, self.sequence = chain, sequence

    def resolve(self, path: bytes) -> Node | None:
        """Follow `path` (b'' is the root) by names; None when a directory on the way says it is gone."""
        node: Node | None = self.root()
        for name in path.split(b"/") if path else ():
            if node is None:
                return None
            node = self.child(node, name)
        return node

    def root(self) -> Node:
        """Return the dataset's root."""
        return self._base_node(b"")

    def child(self, node: Node, name: bytes) -> Node | None:
        """Return what `name` in directory `node` leads to."""
        if node.object is not None:
            for row in self._ask(statements.CHILD, parent=node.object, name=name):
                return None if row.child is None else self.node(row.child)
        if node.base_path is None:
            return None
        return self._base_node(node.base_path + b"/" + name if node.base_path else name)

    def names(self, node: Node) -> dict[bytes, Node | None]:
        """Return the overlay's names of a directory (None: not there, whatever the base says)."""
        if node.object is None:
            return {}
        rows = self._ask(statements.NAMES, parent=node.object)
        return {row.name: None if row.child is None else Node(row.child, row.base_path) for row in rows}

    def node(self, number: int) -> Node:
        """Return the node of an object by its number. Raises CatalogError when the catalog lacks it."""
        for row in self._ask(statements.BASE_PATH, number=number):
            return Node(number, row.base_path)
        raise CatalogError(f"the catalog lacks object {number}; delete it, it is made again")

    def overlaid(self, base_paths: Iterable[bytes]) -> dict[bytes, int]:
        """Return the object numbers of those base paths that the overlay knows."""
        return {row.base_path: row.number for row in self._ask_of_many(statements.AT_BASE_PATHS, base_paths)}

    def paths(self, node: Node) -> list[bytes]:
        """Return every path of the object at `node` that the overlay knows, sorted.

        Further names of a hard-linked file that nothing has touched since the base are not among them.
        Raises IntegrityError when a directory above it stands in several places, or in itself.
        """
        return sorted(self._paths(node, frozenset()))

    def _directory_paths(self, node: Node, below: frozenset[int]) -> list[bytes]:
        if node.object in below:
            raise IntegrityError(f"directory {node.object} of the chain lies in itself; run zdiffsync check")
        found = list(islice(self._paths(node, below), 2))
        if len(found) > 1:
            raise IntegrityError(f"directory {node.object} of the chain has two names; run zdiffsync check")
        return found

    def _paths(self, node: Node, below: frozenset[int]) -> Iterator[bytes]:
        if node.base_path == b"":
            yield b""
            return
        if node.object is not None:
            below |= {node.object}
            for row in self._ask(statements.PARENTS, child=node.object):
                parent = self.node(row.parent)
                yield from (_join(path, row.name) for path in self._directory_paths(parent, below))
        if node.base_path is not None:
            head, _, name = node.base_path.rpartition(b"/")
            parent = self._base_node(head)
            if name not in self.names(parent):
                yield from (_join(path, name) for path in self._directory_paths(parent, below))

    def link_counts(self, numbers: Iterable[int]) -> dict[int, int]:
        """Return how many names of these objects the overlay has; 0, and no key, where it has none."""
        return {row.child: row.names for row in self._ask_of_many(statements.LINK_COUNTS, numbers)}

    def number_of(self, zfs_object: int, generation: int) -> int | None:
        """Return the number of the object with this ZFS identity, if the overlay has it.

        One that was gone for a while, into an excluded place, has several: the last is the living one.
        """
        (row,) = self._ask(statements.WITH_IDENTITY, zfs_object=zfs_object, generation=generation)
        found: int | None = row.number
        return found

    def version(self, number: int) -> Version | None:
        """Return metadata and content of an object, None when they are still the base's."""
        for row in self._ask(statements.VERSION, number=number):
            return Version(row_entry(row), row.content)
        return None

    def versions(self, numbers: Iterable[int]) -> dict[int, Version]:
        """Return metadata and content of many objects; those that are still the base's have no key."""
        return {
            row.object: Version(row_entry(row), row.content)  # type: ignore[arg-type]
            for row in self._ask_of_many(statements.VERSIONS, numbers)
        }

    def zfs_objects(self, numbers: Iterable[int]) -> dict[int, int]:
        """Return the ZFS object numbers (st_ino) of objects by their numbers here."""
        return {row.number: row.zfs_object for row in self._ask_of_many(statements.ZFS_OBJECTS, numbers)}

    def content(self, number: int) -> ContentRecord:
        """Return a stored content. Raises CatalogError when the catalog lacks it."""
        for row in self._ask(statements.CONTENT, number=number):
            return row_content(row)
        raise CatalogError(f"the catalog lacks content {number}; delete it, it is made again")

    def content_with_digest(self, digest: str, size: int) -> ContentRecord | None:
        """Return a content of this chain with the same bytes, if there is one that is not lost."""
        for row in self._ask(statements.WITH_DIGEST, digest=digest, size=size):
            return row_content(row)
        return None

    def pack(self, key: str) -> PackRecord:
        """Return what is known of a pack. Raises CatalogError when it is not known."""
        row = self._connection.execute(select(PackRow.size, PackRow.sha256).where(PackRow.key == key)).first()
        if row is None:
            raise CatalogError(f"the catalog lacks pack {key}; delete it, it is made again")
        return PackRecord(key, row.size, row.sha256)

    def changed_objects(self) -> list[Node]:
        """Return every object of the overlay that exists by this point."""
        rows = self._connection.execute(
            select(ObjectRow.number, ObjectRow.base_path).where(ObjectRow.chain == self.chain)
        )
        return [Node(row.number, row.base_path) for row in rows]

    def _base_node(self, path: bytes) -> Node:
        for row in self._ask(statements.AT_BASE_PATH, path=path):
            return Node(row.number, path)
        return Node(None, path)

    def _ask(self, statement: Prepared, **values: object) -> list[Any]:
        return statement.ask(self._connection, {"chain": self.chain, "sequence": self.sequence, **values})

    def _ask_of_many(self, statement: Executable, many: Iterable[object]) -> Iterator[Row[Any]]:
        for part in parts(many):
            yield from self._connection.execute(
                statement, {"chain": self.chain, "sequence": self.sequence, "many": part}
            )


def parts(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """Yield `items` in lists short enough for one statement each."""
    iterator = iter(items)
    while part := list(islice(iterator, _AT_ONCE)):
        yield part


def _join(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name
