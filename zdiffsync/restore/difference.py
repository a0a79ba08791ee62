"""What is different between two points, of one chain or of two.

Behind `diff`. First both trees are walked side by side by path; what only one of them has is then
paired by identity: those are renames. Rule: what did not change between the points is not walked, and
no byte of a file is fetched.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from zdiffsync.catalog.catalog import Point
from zdiffsync.catalog.timeline import ChainRows
from zdiffsync.format.manifest import ContentRecord
from zdiffsync.model.entry import EntryType
from zdiffsync.restore.compare import Bytes, metadata_changes, same_bytes
from zdiffsync.restore.tree import Found
from zdiffsync.restore.walk import Walk


class Kind(StrEnum):
    """How a path differs, by the letters of `restic diff`; R is ours."""

    ADDED = "+"
    REMOVED = "-"
    CONTENT = "M"
    METADATA = "U"
    TYPE = "T"
    RENAMED = "R"
    UNKNOWN = "?"


@dataclass(frozen=True, slots=True)
class Difference:
    """One path that differs. `changes` as in compare.metadata_changes, before them "content" or "content?".

    `old` is None for what was added, `new` for what was removed; their paths differ when it was renamed.
    """

    kind: Kind
    old: Found | None
    new: Found | None
    changes: tuple[str, ...] = ()

    @property
    def path(self) -> bytes:
        """Where it is, or was."""
        found = self.new or self.old
        assert found is not None, "one of the two is there"
        return found.path


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two points: its tree, and the rows of its chain."""

    point: Point
    walk: Walk
    rows: ChainRows


class Comparison:
    """Compares the trees of two points."""

    def __init__(self, old: Side, new: Side) -> None:
        self._old, self._new = old, new
        # Of another dataset, or of one made anew under its name, the object numbers mean other things.
        self._comparable = old.point.dataset_guid == new.point.dataset_guid
        self._one_chain = old.point.chain_id == new.point.chain_id
        sequences = sorted((old.point.sequence, new.point.sequence))
        self._touched = old.rows.touched(*sequences) if self._one_chain else None
        self._contents: dict[tuple[int, int], ContentRecord] = {}
        self._found: list[Difference] = []
        self._removed: dict[bytes, Found] = {}
        self._added: dict[bytes, Found] = {}
        self._moved: dict[bytes, bytes] = {}

    def differences(self, path: bytes) -> list[Difference]:
        """Return what differs at and below `path`, sorted by path. Raises like PointTree.

        A directory's time alone is no difference: it tells only that names in it came or went.
        """
        old, new = self._old.walk.find(path), self._new.walk.find(path)
        self._beside(old, new, by_path=True)
        self._pair_directories()
        self._expand(self._removed, self._old.walk)
        self._expand(self._added, self._new.walk)
        self._pair_all()
        self._found += [Difference(Kind.REMOVED, found, None) for found in self._removed.values()]
        self._found += [Difference(Kind.ADDED, None, found) for found in self._added.values()]
        return sorted(self._found, key=lambda each: (each.path, each.kind))

    def _beside(self, old: Found | None, new: Found | None, *, by_path: bool) -> None:
        """Compare what has one name on both sides, and all below; what has no partner goes on a pile."""
        todo = [(old, new)]
        while todo:
            old, new = todo.pop()
            if old is not None and new is not None and (by_path or self._same(old, new)):
                self._compare(old, new)
                if not self._untouched(old, new):
                    todo += self._below(old, new)
                continue
            if old is not None:
                self._removed[old.path] = old
            if new is not None:
                self._added[new.path] = new

    def _below(self, old: Found, new: Found) -> list[tuple[Found | None, Found | None]]:
        befores = {found.name: found for found in self._children(self._old.walk, old)}
        afters = {found.name: found for found in self._children(self._new.walk, new)}
        return [(befores.get(name), afters.get(name)) for name in befores.keys() | afters.keys()]

    @staticmethod
    def _children(walk: Walk, found: Found) -> list[Found]:
        return walk.children(found) if found.entry.type is EntryType.DIRECTORY else []

    def _untouched(self, old: Found, new: Found) -> bool:
        """Whether all below two names is known to be equal, without looking inside."""
        if self._touched is not None:
            return (
                old.node == new.node
                and old.node.object not in self._touched.objects
                and old.node.base_path not in self._touched.base_paths
            )
        return (
            old.stored is not None
            and new.stored is not None
            and old.stored.subtree == new.stored.subtree
            and self._old.walk.pristine(old)
            and self._new.walk.pristine(new)
        )

    def _same(self, old: Found, new: Found) -> bool:
        """Whether two names lead to one object, as far as is known."""
        if old.entry.type is not new.entry.type or old.inode != new.inode or not self._comparable:
            return False
        if not self._one_chain:
            # The number may have been given out again; its generation is known to the overlay only.
            return old.entry.mtime_ns == new.entry.mtime_ns or old.name == new.name
        if None not in {old.node.object, new.node.object}:
            return old.node.object == new.node.object
        # An object that came after the base has no path there, but may have a number from there.
        return None not in {old.node.base_path, new.node.base_path}

    def _compare(self, old: Found, new: Found, kind: Kind | None = None) -> None:
        """Note how two that belong together differ; as a rename (`kind`) even when they do not."""
        changes = metadata_changes(old.entry, new.entry)
        if old.entry.type is EntryType.DIRECTORY:
            changes = [each for each in changes if each != "time"]
        same: bool | None = True
        if old.entry.type is new.entry.type is EntryType.FILE:
            one, other = (
                Bytes(side.point.chain_id, found.entry.size, found.content, found.stored)
                for side, found in ((self._old, old), (self._new, new))
            )
            same = same_bytes(one, other, self._content, one_object=self._same(old, new))
        if same is False:
            changes = ["content", *(each for each in changes if each != "time")]
        elif same is None:
            changes = ["content?", *changes]
        if kind is None and changes:
            if "type" in changes:
                kind = Kind.TYPE
            else:
                kind = {True: Kind.METADATA, False: Kind.CONTENT, None: Kind.UNKNOWN}[same]
        if kind is not None:
            self._found.append(Difference(kind, old, new, tuple(changes)))

    def _content(self, chain: int, number: int) -> ContentRecord:
        if (chain, number) not in self._contents:
            rows = self._old.rows if chain == self._old.point.chain_id else self._new.rows
            self._contents[chain, number] = rows.contents([number])[number]
        return self._contents[chain, number]

    def _pair_directories(self) -> None:
        """Pair renamed directories first: what is below them is then compared by name, not listed."""
        while True:
            pairs = self._pairs(
                [found for found in self._added.values() if found.entry.type is EntryType.DIRECTORY]
            )
            if not pairs:
                return
            for old, new in pairs:
                self._take(old, new)
                self._compare(old, new, Kind.RENAMED)
                if not self._untouched(old, new):
                    for before, after in self._below(old, new):
                        self._beside(before, after, by_path=False)

    def _pair_all(self) -> None:
        for old, new in self._pairs(sorted(self._added.values(), key=lambda found: found.path)):
            self._take(old, new)
            followed = self._moved.get(_head(old.path)) == _head(new.path) and old.name == new.name
            self._compare(old, new, None if followed else Kind.RENAMED)

    def _pairs(self, added: Iterable[Found]) -> list[tuple[Found, Found]]:
        waiting: dict[int, list[Found]] = {}
        for found in sorted(self._removed.values(), key=lambda found: found.path):
            waiting.setdefault(found.inode, []).append(found)
        pairs = []
        for new in added:
            fitting = [old for old in waiting.get(new.inode, ()) if self._same(old, new)]
            if fitting:
                old = next((each for each in fitting if each.name == new.name), fitting[0])
                waiting[new.inode].remove(old)
                pairs.append((old, new))
        return pairs

    def _take(self, old: Found, new: Found) -> None:
        del self._removed[old.path], self._added[new.path]
        if new.entry.type is EntryType.DIRECTORY:
            self._moved[old.path] = new.path

    @staticmethod
    def _expand(pile: dict[bytes, Found], walk: Walk) -> None:
        todo = [found for found in pile.values() if found.entry.type is EntryType.DIRECTORY]
        while todo:
            for found in walk.children(todo.pop()):
                pile[found.path] = found
                if found.entry.type is EntryType.DIRECTORY:
                    todo.append(found)


def _head(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]
