"""All points of a chain at once: the overlay's rows with the spans they hold for.

The sibling of catalog.view, which shows one point. Used by history, find and diff.
Rule: one statement answers for all points; nothing here is asked point by point.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, or_, select

from zdiffsync.catalog.prepared import Prepared
from zdiffsync.catalog.schema import ContentRow, DirentRow, ObjectRow, VersionRow
from zdiffsync.catalog.values import row_content, row_entry
from zdiffsync.catalog.view import parts
from zdiffsync.format.manifest import ContentRecord
from zdiffsync.model.entry import Entry

ENDLESS = 1 << 62  # the `until` of what still holds


@dataclass(frozen=True, slots=True)
class Known:
    """An object of the overlay: its number, its identity in ZFS, its path in the base (or None)."""

    number: int
    zfs_object: int
    generation: int
    base_path: bytes | None


@dataclass(frozen=True, slots=True)
class NameSpan:
    """From point `since` to before `until`, `name` in directory `parent` leads to `child` (None: nowhere)."""

    parent: int
    name: bytes
    child: int | None
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class VersionSpan:
    """From point `since` to before `until`, an object has this metadata and content."""

    since: int
    until: int
    entry: Entry
    content: int | None


@dataclass(frozen=True, slots=True)
class Touched:
    """What changed, and every directory above: as objects and as base paths. May name too much."""

    objects: frozenset[int]
    base_paths: frozenset[bytes]


Wanted = Callable[[bytes, int | None], bool]

_NAMES_OF = Prepared(
    select(DirentRow.name, DirentRow.child, DirentRow.since, DirentRow.until)
    .where(DirentRow.chain == bindparam("chain"), DirentRow.parent == bindparam("parent"))
    .order_by(DirentRow.name, DirentRow.since)
)


class ChainRows:
    """The rows of one chain, through an open connection."""

    def __init__(self, connection: Connection, chain: int) -> None:
        self._connection, self._chain = connection, chain

    def names(self, parent: int, name: bytes | None = None, only: Wanted | None = None) -> list[NameSpan]:
        """Return what the names of a directory (or only `name`) ever led to, by name and then by time.

        `only` tells by name and child which are wanted.
        """
        if name is not None:
            return self._names(DirentRow.parent == parent, DirentRow.name == name)
        rows = _NAMES_OF.ask(self._connection, {"chain": self._chain, "parent": parent})
        return [
            NameSpan(parent, row.name, row.child, row.since, _end(row))
            for row in rows
            if only is None or only(row.name, row.child)
        ]

    def based(self) -> frozenset[int]:
        """Return the objects that the base has, too."""
        statement = select(ObjectRow.number).where(
            ObjectRow.chain == self._chain, ObjectRow.base_path.is_not(None)
        )
        return frozenset(self._connection.execute(statement).scalars())

    def holders(self) -> frozenset[int]:
        """Return the directories of which the overlay ever knew a name."""
        statement = select(DirentRow.parent).distinct().where(DirentRow.chain == self._chain)
        return frozenset(self._connection.execute(statement).scalars())

    def names_of(self, children: Iterable[int]) -> dict[int, list[NameSpan]]:
        """Return the names that ever led to objects, by object, each by time."""
        found: dict[int, list[NameSpan]] = {}
        for part in parts(children):
            for row in sorted(self._names(DirentRow.child.in_(part)), key=lambda row: row.since):
                assert row.child is not None, "the condition names them"
                found.setdefault(row.child, []).append(row)
        return found

    def versions(self, numbers: Iterable[int]) -> dict[int, list[VersionSpan]]:
        """Return all versions of objects, by object, each by time; those with none have no key."""
        found: dict[int, list[VersionSpan]] = {}
        for part in parts(numbers):
            statement = select(VersionRow.__table__).where(
                VersionRow.chain == self._chain, VersionRow.object.in_(part)
            )
            for row in self._connection.execute(statement.order_by(VersionRow.since)):
                version = VersionSpan(row.since, _end(row), row_entry(row), row.content)  # type: ignore[arg-type]
                found.setdefault(row.object, []).append(version)
        return found

    def objects(self, numbers: Iterable[int]) -> dict[int, Known]:
        """Return objects by their numbers."""
        return {
            known.number: known
            for part in parts(numbers)
            for known in self._objects(ObjectRow.number.in_(part))
        }

    def at_base_paths(self, paths: Iterable[bytes]) -> dict[bytes, Known]:
        """Return those objects that have one of these base paths, by it."""
        return {
            known.base_path: known
            for part in parts(paths)
            for known in self._objects(ObjectRow.base_path.in_(part))
            if known.base_path is not None
        }

    def with_identity(self, zfs_object: int) -> list[Known]:
        """Return the objects that have this ZFS object number, in the order they entered the overlay."""
        return self._objects(ObjectRow.zfs_object == zfs_object)

    def contents(self, numbers: Iterable[int]) -> dict[int, ContentRecord]:
        """Return stored contents by their numbers."""
        return {
            row.number: row_content(row)  # type: ignore[arg-type]
            for part in parts(numbers)
            for row in self._connection.execute(
                select(ContentRow.__table__).where(
                    ContentRow.chain == self._chain, ContentRow.number.in_(part)
                )
            )
        }

    def overlaid(self) -> frozenset[bytes]:
        """Return the base paths of all objects, and of all directories above them."""
        found: set[bytes] = set()
        statement = select(ObjectRow.base_path).where(
            ObjectRow.chain == self._chain, ObjectRow.base_path.is_not(None)
        )
        for path in self._connection.execute(statement).scalars():
            _add_with_above(found, path)
        return frozenset(found)

    def touched(self, after: int, upto: int) -> Touched:
        """Return what is not the same at points `after` and `upto`, with all that ever was above it.

        `after` -1 stands for the base as restic has it.
        """
        changed = {
            number
            for row, column in ((VersionRow, VersionRow.object), (DirentRow, DirentRow.parent))
            for number in self._connection.execute(
                select(column).distinct().where(row.chain == self._chain, _turns(row, after, upto))
            ).scalars()
        }
        objects: set[int] = set()
        base_paths: set[bytes] = set()
        while changed:
            objects |= changed
            above: set[bytes] = set()
            for known in self.objects(changed).values():
                above |= _add_with_above(base_paths, known.base_path)
            parents = {
                row.parent for part in parts(changed) for row in self._names(DirentRow.child.in_(part))
            }
            parents |= {known.number for known in self.at_base_paths(above).values()}
            changed = parents - objects
        return Touched(frozenset(objects), frozenset(base_paths))

    def _names(self, *conditions: ColumnElement[bool]) -> list[NameSpan]:
        statement = select(
            DirentRow.parent, DirentRow.name, DirentRow.child, DirentRow.since, DirentRow.until
        ).where(DirentRow.chain == self._chain, *conditions)
        return [
            NameSpan(row.parent, row.name, row.child, row.since, _end(row))
            for row in self._connection.execute(statement.order_by(DirentRow.name, DirentRow.since))
        ]

    def _objects(self, condition: ColumnElement[bool]) -> list[Known]:
        statement = select(
            ObjectRow.number, ObjectRow.zfs_object, ObjectRow.generation, ObjectRow.base_path
        ).where(ObjectRow.chain == self._chain, condition)
        rows = self._connection.execute(statement.order_by(ObjectRow.number))
        return [Known(row.number, row.zfs_object, row.generation, row.base_path) for row in rows]


def _add_with_above(paths: set[bytes], path: bytes | None) -> set[bytes]:
    """Add a path and all directories above it; return those that were not there."""
    new = set()
    while path is not None and path not in paths:
        paths.add(path)
        new.add(path)
        path = path.rpartition(b"/")[0] if path else None
    return new


def _end(row: Any) -> int:
    return ENDLESS if row.until is None else int(row.until)


def _turns(row: type[DirentRow] | type[VersionRow], after: int, upto: int) -> ColumnElement[bool]:
    """Whether a row begins or ends between the two points."""
    return or_(row.since.between(after + 1, upto), row.until.between(after + 1, upto))
