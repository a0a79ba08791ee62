"""From hints to truth: rows of `zfs diff`, the ledger and the send stream against both trees.

Third step of the nightly flow. Rows name what to look at; what is so is read from the two
snapshots. Rule: a missing, misleading or contradictory row may cost time, never a change.
"""

import stat
from collections.abc import Callable, Iterable, Iterator, Mapping

from zdiffsync.backup.certificate import Certificate
from zdiffsync.backup.changes import ChangeSet, Detection, ObjectChange
from zdiffsync.backup.directories import DirectoryComparison, join
from zdiffsync.backup.excludes import Excludes
from zdiffsync.backup.found import Found, Objects, Places
from zdiffsync.backup.renames import PathTranslation
from zdiffsync.external.tree import Identity, SnapshotTree, same_times
from zdiffsync.external.zfs_diff import Diff

Ledger = Mapping[Identity, tuple[bytes, ...]]
_NOTHING = False, None  # what the certificate says of most directories
Ranges = tuple[tuple[int, int], ...] | None


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
        for path, directory in self._hints(diff):
            # Files need not be looked at before it is known what directories they are in.
            (work.mention if directory else work.suspect)(path)
        work.run(self._find_old_directory)
        work.mention_suspects()
        forward = self._translation(work)
        for path in self._retry:  # above it something may have been renamed
            work.mention(forward(path))
        if certificate is None:
            self._mention_changed_links(work)
        else:
            self._certify(work, certificate, None if diff is None else detection.misses)
        work.run(self._find_old_directory)
        work.forget_suspects()
        links = self._complete_names(work)
        self._add_link_names(work)
        found = Found(work.old_paths, work.new_paths, work.old_dirs)
        return ChangeSet(
            names=work.changes,
            objects=Objects(work.new_paths, self._describer(found)),
            places=Places(found, self._other_places(work)),
            links=links,
            detection=detection,
            gone=self._gone(work),
            fresh=found,
        )

    def _hints(self, diff: Diff | None) -> Iterator[tuple[bytes, bool]]:
        """Yield paths that something has to do with a change, and whether they are directories."""
        if diff is None:
            assert self._certificate is not None, "without zfs diff there is the stream"
            for identity in self._certificate.directories():
                found = (tree.path_of(identity) for tree in (self._old, self._new))
                yield from ((path, True) for path in found if path is not None)
            return
        if diff.problem is not None:
            yield b"", True
        for row in diff.rows:
            yield row.path, row.directory
            if row.new_path is not None:
                yield row.new_path, row.directory

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
        for identity in work.new_paths:
            if identity in work.new_dirs:
                continue
            was = self._ledger.get(identity, ())
            self._add_known_names(work, identity, forward, backward)
            paths = work.new_paths[identity]
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
                    work.new_paths.add(identity, name)
                    if self._was(backward(name)) == identity:
                        work.old_paths.add(identity, backward(name))
        for identity in several:
            several[identity] = tuple(sorted(work.new_paths[identity]))
        return self._ledger_changes(several, work, forward)

    def _add_known_names(
        self,
        work: DirectoryComparison,
        identity: Identity,
        forward: PathTranslation,
        backward: PathTranslation,
    ) -> None:
        """Add the names of an object that the ledger knows, and where its names were before."""
        was = self._ledger.get(identity, ())
        for name in map(forward, was):
            if self._new.identity(name) == identity and not self._excludes.covers(name, directory=False):
                work.new_paths.add(identity, name)
        before = {*was, *map(backward, work.new_paths[identity])}.difference(work.old_paths[identity])
        for name in before:
            if self._was(name) == identity:
                work.old_paths.add(identity, name)

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

    def _add_link_names(self, work: DirectoryComparison) -> None:
        """Add every name of an object that is new or has several, wherever it stands.

        A name in an unchanged directory leads to the base's own entry until it is said to lead here.
        """
        last, parent = b"/", None
        for identity, paths in work.new_paths.items():
            plain = len(paths) == 1 and identity not in self._ledger and identity in work.old_paths
            if identity in work.new_dirs or (plain and not self._is_retry(work.old_paths[identity])):
                continue
            for path in sorted(paths):
                directory, _, name = path.rpartition(b"/")
                if directory != last:  # they come in clusters
                    last, parent = directory, self._new.identity(directory)
                assert parent is not None, "a snapshot's names do not vanish"
                names = work.changes.setdefault(parent, {})
                if name not in names:
                    work.new_dirs.setdefault(parent, directory)
                    names[name] = identity

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

    def _describer(self, found: Found) -> Callable[[Identity, tuple[bytes, ...]], ObjectChange]:
        """Return what makes the change of an object, given its names.

        Nothing it holds is as large as the certificate, which says much of objects that are new.
        """
        retry = self._retry
        donors: dict[Identity, bytes] = {}
        written: dict[Identity, tuple[bool, Ranges]] = {}
        for identity, paths in found.new_paths.items():
            fresh = identity in found
            if fresh or self._is_retry(found.old_paths[identity]):
                donor = self._donor(tuple(sorted(paths)))
                if donor is not None:
                    donors[identity] = donor
            if not fresh and self._certificate is not None:
                number = identity.number
                said = self._certificate.must_compare(number), self._certificate.ranges(number)
                if said != _NOTHING:
                    written[identity] = said

        def describe(identity: Identity, names: tuple[bytes, ...]) -> ObjectChange:
            was = found.old_paths[identity]
            old = None if not retry.isdisjoint(was) else found.old_place(identity)
            compare, ranges = written.get(identity, _NOTHING)
            return ObjectChange(identity, old, names, donors.get(identity), compare, ranges, len(was))

        return describe

    def _donor(self, names: tuple[bytes, ...]) -> bytes | None:
        for name in names:
            info = self._old.lstat(name)
            if info is None or not stat.S_ISREG(info.st_mode) or name in self._retry:
                continue
            if not self._excludes.covers(name, directory=False):
                return name
        return None

    def _is_retry(self, old_paths: Iterable[bytes]) -> bool:
        return bool(self._retry) and not self._retry.isdisjoint(old_paths)

    def _other_places(self, work: DirectoryComparison) -> dict[Identity, tuple[bytes | None, bytes | None]]:
        """Return the places of directories that did not change themselves."""
        places: dict[Identity, tuple[bytes | None, bytes | None]] = {}
        backward = self._translation(work, backward=True)
        for identity, path in work.new_dirs.items():
            if identity not in work.new_paths:
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
