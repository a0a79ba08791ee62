"""Comparing directories of two snapshots, joined by object and not by path.

The heart of reconcile: from directories that are known to differ it finds every name that came,
went or now leads elsewhere, and follows new, moved and deleted directories.
Rule: a directory that exists in both trees is compared, never taken for deleted and created.
"""

import stat
from collections.abc import Callable, Iterator

from zdiffsync.backup.excludes import Excludes
from zdiffsync.backup.found import Paths
from zdiffsync.external.tree import Identity, Listed, SnapshotTree, same_times


class DirectoryComparison:
    """Collects directories of both sides, then `run` compares them to a fixed point.

    `deep` descends into every directory and stats every file: the full tree comparison.
    """

    def __init__(self, old: SnapshotTree, new: SnapshotTree, excludes: Excludes, *, deep: bool) -> None:
        self._old_tree, self._new_tree = old, new
        self._excludes = excludes
        self._deep = deep
        self.old_dirs: dict[Identity, bytes] = {}
        self.new_dirs: dict[Identity, bytes] = {}
        self.old_paths, self.new_paths = Paths(), Paths()
        self.changes: dict[Identity, dict[bytes, Identity | None]] = {}
        self._suspects: dict[bytes, bool] = {}
        self._compared: set[Identity] = set()
        self._expanded_old: set[Identity] = set()
        self._settled_new: set[Identity] = set()
        self._place_checked: set[Identity] = set()

    def suspect(self, path: bytes) -> None:
        """Take up a path that something says has changed, once `run` has compared its directory or not."""
        self._suspects.setdefault(path, False)

    def mention(self, path: bytes) -> None:
        """Take up a path that something says has changed, on whichever sides it exists."""
        self._suspects.setdefault(path, False)
        self._look(self._old_tree, path, self._note_old)
        self._look(self._new_tree, path, self._note_new)

    def mention_suspects(self) -> None:
        """Take up all suspects, of those that were found in a new directory the old side only."""
        for path, seen in self._suspects.items():
            self._look(self._old_tree, path, self._note_old)
            if not seen:
                self._look(self._new_tree, path, self._note_new)

    def forget_suspects(self) -> None:
        """Free what only comparing needs."""
        self._suspects.clear()

    def _look(self, tree: SnapshotTree, path: bytes, note: Callable[[Identity, bytes, bool], None]) -> None:
        identity = tree.identity(path)
        if identity is None:
            return
        info = tree.lstat(path)
        directory = info is not None and stat.S_ISDIR(info.st_mode)
        if not self._excludes.covers(path, directory=directory):
            note(identity, path, directory)

    def _note_old(self, identity: Identity, path: bytes, directory: bool) -> None:
        self.old_paths.add(identity, path)
        if directory:
            self.old_dirs[identity] = path

    def _note_new(self, identity: Identity, path: bytes, directory: bool) -> None:
        self.new_paths.add(identity, path)
        if directory:
            self.new_dirs[identity] = path

    def run(self, find_old: Callable[[Identity], bytes | None]) -> None:
        """Compare until nothing new turns up.

        `find_old` looks for the old path of a directory that no changed directory gave away.
        """
        while True:
            if both := (self.old_dirs.keys() & self.new_dirs.keys()) - self._compared:
                for identity in both:
                    self._compare(identity)
            elif gone := self.old_dirs.keys() - self.new_dirs.keys() - self._expanded_old:
                for identity in gone:
                    self._expanded_old.add(identity)
                    path = self.old_dirs[identity]
                    for item in self._list(self._old_tree, path).values():
                        self._take_old(path, item)
            elif fresh := self.new_dirs.keys() - self.old_dirs.keys() - self._settled_new:
                for identity in fresh:
                    self._settled_new.add(identity)
                    if (found := find_old(identity)) is not None:
                        self._note_old(identity, found, directory=True)
                    else:
                        self._expand_new(identity)
            else:
                return

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (old path, new path) of every directory known on both sides."""
        for identity in self._compared:
            yield self.old_dirs[identity], self.new_dirs[identity]

    def _compare(self, identity: Identity) -> None:
        self._compared.add(identity)
        old_path, new_path = self.old_dirs[identity], self.new_dirs[identity]
        old_names = self._list(self._old_tree, old_path)
        new_names = self._list(self._new_tree, new_path)
        deep = self._deep or self._check_place(identity, old_path, new_path)
        found: dict[bytes, Identity | None] = {}
        for name, item in new_names.items():
            before = old_names.get(name)
            if before is not None and self._same(old_path, new_path, before, item, deep=deep):
                continue
            if before is not None:
                self._take_old(old_path, before)
            found[name] = self._take_new(new_path, item)
        for name, before in old_names.items():
            if name not in new_names:
                self._take_old(old_path, before)
                found[name] = None
        self.changes[identity] = found

    def _check_place(self, identity: Identity, old_path: bytes, new_path: bytes) -> bool:
        """Tell whether to look at all of a directory: moving it can change what patterns exclude in it."""
        if not (old_path != new_path and self._excludes.depends_on_place):
            return identity in self._place_checked
        return True

    def _same(self, old_path: bytes, new_path: bytes, before: Listed, item: Listed, *, deep: bool) -> bool:
        if before.number != item.number or before.directory != item.directory:
            return False
        old, new = join(old_path, item.name), join(new_path, item.name)
        if not deep and new not in self._suspects and old not in self._suspects:
            return True
        old_info, new_info = self._old_tree.lstat(old), self._new_tree.lstat(new)
        if old_info is None or new_info is None:
            return False
        changed = not same_times(old_info, new_info)
        if not changed and not (deep and item.directory):
            return True
        was, now = self._old_tree.identity(old), self._new_tree.identity(new)
        if was is None or was != now:
            return False
        if changed or item.directory:
            if deep and item.directory and not self._deep:
                self._place_checked.add(was)
            self._note_old(was, old, item.directory)
            self._note_new(was, new, item.directory)
        return True

    def _expand_new(self, identity: Identity) -> None:
        path = self.new_dirs[identity]
        self.changes[identity] = {
            name: self._take_new(path, item) for name, item in self._list(self._new_tree, path).items()
        }

    def _take_new(self, directory: bytes, item: Listed) -> Identity:
        path = join(directory, item.name)
        identity = self._new_tree.identity(path)
        assert identity is not None, "a snapshot's names do not vanish"
        self._note_new(identity, path, item.directory)
        if path in self._suspects:
            self._suspects[path] = True
        return identity

    def _take_old(self, directory: bytes, item: Listed) -> None:
        path = join(directory, item.name)
        identity = self._old_tree.identity(path)
        assert identity is not None, "a snapshot's names do not vanish"
        self._note_old(identity, path, item.directory)

    def _list(self, tree: SnapshotTree, path: bytes) -> dict[bytes, Listed]:
        return {
            item.name: item
            for item in tree.names(path)
            if not self._excludes.matches(join(path, item.name), directory=item.directory)
        }


def join(directory: bytes, name: bytes) -> bytes:
    """Return the path of `name` in `directory` (b'' is the root)."""
    return directory + b"/" + name if directory else name
