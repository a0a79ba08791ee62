"""From hints to truth: rows of `zfs diff`, the ledger and the send stream against both trees.

Third step of the nightly flow. Rows name what to look at; what is so is read from the two
snapshots. Rule: a missing, misleading or contradictory row may cost time, never a change.
"""

import stat
from collections.abc import Iterable, Iterator, Mapping

from zdiffsync.backup.certificate import Certificate
from zdiffsync.backup.changes import ChangeSet, Detection, NameChange, ObjectChange
from zdiffsync.backup.directories import DirectoryComparison, join
from zdiffsync.backup.excludes import Excludes
from zdiffsync.backup.renames import PathTranslation
from zdiffsync.external.tree import Identity, SnapshotTree, same_times
from zdiffsync.external.zfs_diff import Diff

Ledger = Mapping[Identity, tuple[bytes, ...]]


class Reconciler:
    """One comparison of an old and a new snapshot. Times in ns, `old_txg` is the old one's createtxg.

    `retry` are old paths whose bytes the last point does not have, though the old tree does: it could not
    read them, or they were lost since.
    """

    def __init__(
        self,
        old: SnapshotTree,
        new: SnapshotTree,
        *,
        excludes: Excludes,
        ledger: Ledger,
        old_txg: int,
        old_created_ns: int,
        retry: Iterable[bytes] = (),
    ) -> None:
        self._old, self._new = old, new
        self._excludes = excludes
        self._ledger = ledger
        self._old_txg = old_txg
        self._old_created_ns = old_created_ns
        self._retry = frozenset(retry)
        self._by_number: dict[int, list[Identity]] = {}
        for identity in ledger:
            self._by_number.setdefault(identity.number, []).append(identity)
        self._certificate: Certificate | None = None

    def run(
        self, diff: Diff | None, certificate: Certificate | None, *, uncertified_because: str | None = None
    ) -> ChangeSet:
        """Return all changes, without `diff` going by the stream alone.

        Without `certificate` they stay uncertified, and the report says why.
        """
        self._certificate = certificate
        detection = _method(diff)
        detection.certified, detection.uncertified_because = certificate is not None, uncertified_because
        work = DirectoryComparison(self._old, self._new, self._excludes, deep=detection.problem is not None)
        for path in self._retry:
            work.mention(path)
        for path in self._hints(diff):
            work.mention(path)
        work.run(self._find_old_directory)
        forward = self._translation(work)
        for path in self._retry:  # above it something may have been renamed
            work.mention(forward(path))
        if certificate is None:
            self._mention_changed_links(work)
        else:
            self._certify(work, certificate, None if diff is None else detection.misses)
        work.run(self._find_old_directory)
        links = self._complete_names(work)
        return ChangeSet(
            names=tuple(change for found in work.changes.values() for change in found)
            + self._link_names(work),
            objects=tuple(self._objects(work)),
            places=self._places(work),
            links=links,
            detection=detection,
            gone=self._gone(work),
        )

    def _hints(self, diff: Diff | None) -> Iterator[bytes]:
        if diff is None:
            assert self._certificate is not None, "without zfs diff there is the stream"
            for identity in self._certificate.directories():
                found = (tree.path_of(identity) for tree in (self._old, self._new))
                yield from (path for path in found if path is not None)
            return
        if diff.problem is not None:
            yield b""
        for row in diff.rows:
            yield row.path
            if row.new_path is not None:
                yield row.new_path

    def _find_old_directory(self, identity: Identity) -> bytes | None:
        if identity.generation > self._old_txg:
            return None
        if (path := self._old.path_of(identity)) is not None:
            return path if self._was(path, directory=True) == identity else None
        found = locate(self._old, {identity.number}).get(identity.number, ())
        return next((path for path in found if self._was(path, directory=True) == identity), None)

    def _was(self, path: bytes, *, directory: bool = False) -> Identity | None:
        """Return what the last point had at `path`: nothing where it was excluded, whatever lay there."""
        return None if self._excludes.covers(path, directory=directory) else self._old.identity(path)

    def _mention_changed_links(self, work: DirectoryComparison) -> None:
        forward = self._translation(work)
        for names in self._ledger.values():
            for name in names:
                before, now = self._old.lstat(name), self._new.lstat(forward(name))
                if before is None or now is None or not same_times(before, now):
                    work.mention(name)
                    work.mention(forward(name))

    def _certify(
        self, work: DirectoryComparison, certificate: Certificate, misses: list[bytes] | None
    ) -> None:
        """Look for every changed object that is not in `work` yet, and take it up there.

        What `zfs diff` should have named is added to `misses`.
        """
        examined = {identity.number for identity in work.new_paths}
        listed = {identity.number for identity in work.changes}
        wanted = certificate.unexplained(examined, listed, self._old_created_ns)
        found = self._known_places(work, wanted)
        found |= self._beside(work, certificate, wanted - found.keys())
        if unknown := wanted - found.keys():
            found |= locate(self._new, unknown)
        backward = self._translation(work, backward=True)
        for number, path in ((number, path) for number, paths in found.items() for path in paths):
            before, now = self._old.lstat(backward(path)), self._new.lstat(path)
            if self._excludes.covers(path, directory=now is not None and stat.S_ISDIR(now.st_mode)):
                continue
            unmoved = before and now and same_times(before, now)
            if misses is not None and (certificate.written(number) or not unmoved):
                misses.append(path)
            if certificate.must_compare(number) or not unmoved:
                work.mention(path)
                work.mention(backward(path))

    def _known_places(self, work: DirectoryComparison, wanted: set[int]) -> dict[int, list[bytes]]:
        forward = self._translation(work)
        places: dict[int, list[bytes]] = {}
        for number in wanted & self._by_number.keys():
            for identity in self._by_number[number]:
                names = [forward(name) for name in self._ledger[identity]]
                if here := [name for name in names if self._new.identity(name) == identity]:
                    places[number] = here
        return places

    def _beside(
        self, work: DirectoryComparison, certificate: Certificate, wanted: set[int]
    ) -> dict[int, list[bytes]]:
        """Find what still lies where it was last linked, if that is a directory we know."""
        known = {identity.number: path for identity, path in work.new_dirs.items()}
        parents = {parent for number in wanted if (parent := certificate.parent(number)) in known}
        places: dict[int, list[bytes]] = {}
        for parent in parents:
            for item in self._new.names(known[parent]):
                if item.number in wanted:
                    places.setdefault(item.number, []).append(join(known[parent], item.name))
        return places

    def _translation(self, work: DirectoryComparison, *, backward: bool = False) -> PathTranslation:
        moved = [(old, new) for old, new in work.pairs() if old != new]
        return PathTranslation((new, old) for old, new in moved) if backward else PathTranslation(moved)

    def _complete_names(self, work: DirectoryComparison) -> dict[Identity, tuple[bytes, ...]]:
        """Find every name of each changed object with several, and return the ledger's changed rows."""
        forward, backward = self._translation(work), self._translation(work, backward=True)
        missing: dict[int, Identity] = {}
        several: dict[Identity, tuple[bytes, ...]] = {}
        for identity, paths in list(work.new_paths.items()):
            if identity in work.new_dirs:
                continue
            was = self._ledger.get(identity, ())
            paths.update(
                name for name in map(forward, was)
                if self._new.identity(name) == identity and not self._excludes.covers(name, directory=False)
            )  # fmt: skip
            work.old_paths.setdefault(identity, set()).update(
                name for name in {*was, *map(backward, paths)} if self._was(name) == identity
            )
            info = self._new.lstat(next(iter(paths)))
            assert info is not None, "a snapshot's names do not vanish"
            if info.st_nlink > len(paths):
                missing[identity.number] = identity
            if info.st_nlink > 1 or was:
                several[identity] = ()
        for number, names in (locate(self._new, set(missing)) if missing else {}).items():
            identity = missing[number]
            for name in names:
                if not self._excludes.covers(name, directory=False):
                    work.new_paths[identity].add(name)
                    if self._was(backward(name)) == identity:
                        work.old_paths[identity].add(backward(name))
        for identity in several:
            several[identity] = tuple(sorted(work.new_paths[identity]))
        return self._ledger_changes(several, work, forward)

    def _ledger_changes(
        self, several: dict[Identity, tuple[bytes, ...]], work: DirectoryComparison, forward: PathTranslation
    ) -> dict[Identity, tuple[bytes, ...]]:
        changes = {
            identity: names for identity, names in several.items() if self._ledger.get(identity) != names
        }
        for identity, names in self._ledger.items():
            if identity in several:
                continue
            here = [forward(name) for name in names]
            if identity in work.old_paths:
                here = [name for name in here if self._stands(identity, name)]
            now = tuple(sorted(here))
            if now != names:
                changes[identity] = now
        return changes

    def _link_names(self, work: DirectoryComparison) -> tuple[NameChange, ...]:
        """Return name changes for every name of an object that is new or has several, wherever they stand.

        A name in an unchanged directory leads to the base's own entry until it is said to lead here.
        """
        said = {(change.parent, change.name) for found in work.changes.values() for change in found}
        extra: list[NameChange] = []
        for identity, paths in work.new_paths.items():
            plain = len(paths) == 1 and identity not in self._ledger and work.old_paths.get(identity)
            if identity in work.new_dirs or (plain and not self._is_retry(work, identity)):
                continue
            for path in sorted(paths):
                directory, _, name = path.rpartition(b"/")
                parent = self._new.identity(directory)
                assert parent is not None, "a snapshot's names do not vanish"
                if (parent, name) not in said:
                    work.new_dirs.setdefault(parent, directory)
                    extra.append(NameChange(parent, name, identity))
        return tuple(extra)

    def _gone(self, work: DirectoryComparison) -> dict[Identity, tuple[bytes, ...]]:
        """Return the old names of what is not there any more, directories aside."""
        forward = self._translation(work)
        return {
            identity: tuple(sorted(paths)) for identity, paths in work.old_paths.items()
            if identity not in work.new_paths and identity not in work.old_dirs
            and not any(self._stands(identity, forward(path)) for path in paths)
        }  # fmt: skip

    def _stands(self, identity: Identity, path: bytes) -> bool:
        # What was listed in a directory taken for deleted, until it turned up elsewhere, is not gone.
        return self._new.identity(path) == identity and not self._excludes.covers(path, directory=False)

    def _objects(self, work: DirectoryComparison) -> Iterable[ObjectChange]:
        for identity, paths in work.new_paths.items():
            old = None if self._is_retry(work, identity) else self._old_place(work, identity)
            compare, ranges = False, None
            if self._certificate is not None:
                compare = self._certificate.must_compare(identity.number)
                ranges = self._certificate.ranges(identity.number)
            names = tuple(sorted(paths))
            donor = None if old is not None else self._donor(names)
            before = len(work.old_paths.get(identity, ()))
            yield ObjectChange(identity, old, names, donor, compare, ranges, before)

    def _donor(self, names: tuple[bytes, ...]) -> bytes | None:
        for name in names:
            info = self._old.lstat(name)
            if info is None or not stat.S_ISREG(info.st_mode) or name in self._retry:
                continue
            if not self._excludes.covers(name, directory=False):
                return name
        return None

    def _is_retry(self, work: DirectoryComparison, identity: Identity) -> bool:
        return not self._retry.isdisjoint(work.old_paths.get(identity, ()))

    def _old_place(self, work: DirectoryComparison, identity: Identity) -> bytes | None:
        if identity in work.old_dirs:
            return work.old_dirs[identity]
        return min(work.old_paths.get(identity, ()), default=None)

    def _places(self, work: DirectoryComparison) -> dict[Identity, tuple[bytes | None, bytes | None]]:
        places: dict[Identity, tuple[bytes | None, bytes | None]] = {
            identity: (self._old_place(work, identity), min(paths))
            for identity, paths in work.new_paths.items()
        }
        backward = self._translation(work, backward=True)
        for identity, path in work.new_dirs.items():
            if identity not in places:
                before = work.old_dirs.get(identity, backward(path))
                places[identity] = (before if self._old.identity(before) == identity else None, path)
        return places


def _method(diff: Diff | None) -> Detection:
    if diff is None:
        return Detection("send stream")
    return Detection("tree comparison" if diff.problem else "zfs diff", len(diff.rows), diff.problem)


def locate(tree: SnapshotTree, numbers: set[int]) -> dict[int, list[bytes]]:
    """Find all paths of these object numbers by reading every directory (no stat, so names only)."""
    found: dict[int, list[bytes]] = {}
    for path, item in tree.walk():
        if item.number in numbers:
            found.setdefault(item.number, []).append(path)
    return found
