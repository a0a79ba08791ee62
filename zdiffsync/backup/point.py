"""Turning a change set into the manifest of a point.

Used for increments (changes since the point before) and for bases (what restic cannot carry).
Rule: every reference in the manifest is to an object or content that this or an earlier manifest of
the chain has introduced.
"""

from collections.abc import Callable, Container
from dataclasses import dataclass, field

from zdiffsync.backup.changes import ChangeSet, ObjectChange
from zdiffsync.backup.contents import ContentStore, Previous
from zdiffsync.catalog.view import PointView
from zdiffsync.external.tree import Identity, SnapshotTree, same_times
from zdiffsync.format.manifest import (
    IN_BASE,
    LinksRecord,
    ManifestWriter,
    NameRecord,
    ObjectRecord,
    VersionRecord,
)
from zdiffsync.model.entry import Entry, EntryType


@dataclass(frozen=True, slots=True)
class Skipped:
    """A path that could not be read, and why."""

    path: bytes
    reason: str


@dataclass(slots=True)
class PointStats:
    """What the point changes, for the report.

    `quiet` are the numbers of objects whose content changed while their times did not: a tool that goes
    by times, as restic does with a parent, would take the old bytes for the new.
    """

    created: int = 0
    modified: int = 0
    metadata_only: int = 0
    names_added: int = 0
    names_removed: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    quiet: list[int] = field(default_factory=list)


class PointBuilder:
    """Writes the records of one point. `old` and `view` are those of the point before, None for a base.

    `lost` are contents of the chain that cannot be read any more: nothing new is to depend on them.
    `base_path` gives the path in the base of an object the overlay meets for the first time, from its
    identity and its path in the old tree; None when the base does not have it.
    """

    def __init__(
        self,
        writer: ManifestWriter,
        contents: ContentStore,
        *,
        old: SnapshotTree | None,
        new: SnapshotTree,
        view: PointView | None,
        base_path: Callable[[Identity, bytes | None], bytes | None],
        last_number: int,
        lost: frozenset[int] = frozenset(),
    ) -> None:
        self._writer, self._contents = writer, contents
        self._old, self._new, self._view = old, new, view
        self._base_path = base_path
        self._last_number = self._last_known = last_number
        self._lost = lost
        self._numbers: dict[Identity, int] = {}
        self._absent: set[Identity] = set()
        self._fresh: Container[Identity] = frozenset()
        self._last_asked: tuple[Identity, int | None] | None = None
        self.stats = PointStats()

    def add(self, changes: ChangeSet) -> None:
        """Write the records of all changes. Raises RemoteError when packs cannot be uploaded.

        An object the last point did not have gets a new number even if the overlay knows it from before:
        what happened to it in an excluded place nobody has seen.
        """
        self._fresh = changes.fresh
        for change in changes.objects:
            try:
                self._object(change)
            except OSError as error:
                self.stats.skipped.append(Skipped(change.names[0], error.strerror or str(error)))
                if change.old_path is None:
                    self._absent.add(change.identity)
        for parent, names in changes.names.items():
            for name, child in names.items():
                self._name(changes, parent, name, child)
        for identity, paths in changes.links.items():
            self._writer.add(LinksRecord(identity.number, identity.generation, paths))

    def _object(self, change: ObjectChange) -> None:
        path = change.names[0]
        info = self._new.lstat(path)
        assert info is not None, "a snapshot's names do not vanish"
        before: Entry | None = None
        unmoved = False
        if self._old is not None and change.old_path is not None:
            was = self._old.lstat(change.old_path)
            assert was is not None, "reconcile found the object there"
            unmoved = same_times(was, info)
            if unmoved and not change.compare:
                return
            before = self._old.entry(change.old_path, was)
        entry = self._new.entry(path, info)
        content: int | None = None
        previous: Previous | None = None
        if entry.type is EntryType.FILE:
            previous = self._previous(change.identity, change.old_path) if before is not None else None
            content = self._contents.store(change, entry.size, previous or self._donated(change))
        same_content = content == (previous.content if previous else None) or entry.size == 0
        if before == entry and same_content:
            return
        if unmoved:
            self.stats.quiet.append(change.identity.number)
        if before is None:
            self.stats.created += 1
        elif same_content and before.size == entry.size:
            self.stats.metadata_only += 1
        else:
            self.stats.modified += 1
        self._writer.add(VersionRecord(self._number(change.identity, change.old_path), entry, content))

    def _donated(self, change: ObjectChange) -> Previous | None:
        """Return the content that the file which had this name before had, as a delta's source."""
        if self._old is None or change.donor is None:
            return None
        identity = self._old.identity(change.donor)
        return None if identity is None else self._previous(identity, change.donor)

    def _previous(self, identity: Identity, old_path: bytes | None) -> Previous | None:
        if self._view is None:
            return None
        number = self._known_number(identity)
        if number is not None and (version := self._view.version(number)) is not None:
            return None if version.content is None else self._stored(number, version.content)
        base_path = (
            self._base_path(identity, old_path) if number is None else self._view.node(number).base_path
        )
        return None if base_path is None else Previous(IN_BASE, base_path)

    def _stored(self, number: int, content: int) -> Previous | None:
        if content in self._lost:
            return None
        assert self._view is not None, "asked only for increments"
        return Previous(content, self._view.node(number).base_path if content == IN_BASE else None)

    def _known_number(self, identity: Identity) -> int | None:
        """Return the number the overlay of the last point has for an object."""
        if self._view is None:
            return None
        if self._last_asked is None or self._last_asked[0] != identity:  # asked twice for each
            self._last_asked = identity, self._view.number_of(identity.number, identity.generation)
        return self._last_asked[1]

    def _number(self, identity: Identity, old_path: bytes | None) -> int:
        number = self._numbers.get(identity)
        if number is not None:
            return number
        if identity not in self._fresh:
            number = self._known_number(identity)
        if number is None:
            self._last_number += 1
            number = self._last_number
            base_path = self._base_path(identity, old_path)
            self._writer.add(ObjectRecord(number, identity.number, identity.generation, base_path))
        self._numbers[identity] = number
        return number

    def _name(self, changes: ChangeSet, parent: Identity, name: bytes, child: Identity | None) -> None:
        if child in self._absent:
            return
        above = self._number(parent, changes.places.get(parent, (None, None))[0])
        below: int | None = None
        if child is not None:
            below = self._number(child, changes.places[child][0])
            if self._leads_there_already(parent, name, below):
                return
            self.stats.names_added += 1
        else:
            self.stats.names_removed += 1
        self._writer.add(NameRecord(above, name, below))

    def _leads_there_already(self, parent: Identity, name: bytes, child: int) -> bool:
        if self._view is None or child > self._last_known or parent in self._fresh:
            return False
        if (number := self._known_number(parent)) is None:
            return False
        node = self._view.child(self._view.node(number), name)
        return node is not None and node.object == child
