"""What reconcile holds of a million changes: paths by object, and what a change set makes of them when asked.

Between backup.directories, which fills them in, and those who go through the change set. Rule: an object with
one path costs no collection, and nothing is kept that can be made again.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from zdiffsync.backup.changes import ObjectChange
from zdiffsync.external.tree import Identity


class Paths:
    """The paths of objects, by their identity, in the order they were found."""

    def __init__(self) -> None:
        self._found: dict[Identity, bytes | set[bytes]] = {}

    def add(self, identity: Identity, path: bytes) -> None:
        """Note a path of an object."""
        known = self._found.setdefault(identity, path)
        if known is path:
            return
        if isinstance(known, set):
            known.add(path)
        elif known != path:
            self._found[identity] = {known, path}

    def __getitem__(self, identity: Identity) -> Collection[bytes]:
        """Return the paths of an object, none for an unknown one."""
        known = self._found.get(identity, ())
        return (known,) if isinstance(known, bytes) else known

    def first(self, identity: Identity) -> bytes | None:
        """Return the first of an object's paths as they are sorted."""
        known = self._found.get(identity)
        return min(known) if isinstance(known, set) else known

    def __contains__(self, identity: object) -> bool:
        return identity in self._found

    def __iter__(self) -> Iterator[Identity]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def items(self) -> Iterator[tuple[Identity, Collection[bytes]]]:
        """Yield all objects with their paths."""
        for identity, known in self._found.items():
            yield identity, (known,) if isinstance(known, bytes) else known


@dataclass(frozen=True, slots=True)
class Found:
    """Where objects are in the old and the new tree; of directories `old_dirs` says it."""

    old_paths: Paths
    new_paths: Paths
    old_dirs: Mapping[Identity, bytes]

    def old_place(self, identity: Identity) -> bytes | None:
        """Return an object's path in the old tree."""
        directory = self.old_dirs.get(identity)
        return self.old_paths.first(identity) if directory is None else directory

    def __contains__(self, identity: object) -> bool:
        """Whether it is an object of the new tree that the old one did not have."""
        return identity in self.new_paths and identity not in self.old_dirs and identity not in self.old_paths


class Objects(Collection[ObjectChange]):
    """The changed objects; `change` says what is to be known of one, given its names."""

    def __init__(self, paths: Paths, change: Callable[[Identity, tuple[bytes, ...]], ObjectChange]) -> None:
        self._paths, self._change = paths, change

    def __iter__(self) -> Iterator[ObjectChange]:
        for identity, paths in self._paths.items():
            yield self._change(identity, tuple(sorted(paths)))

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, item: object) -> bool:
        return any(item == each for each in self)


class Places(Mapping[Identity, tuple[bytes | None, bytes | None]]):
    """Old and new path of every object mentioned; `others` are directories in which only names changed."""

    def __init__(self, found: Found, others: dict[Identity, tuple[bytes | None, bytes | None]]) -> None:
        self._found, self._others = found, others

    def __getitem__(self, identity: Identity) -> tuple[bytes | None, bytes | None]:
        new = self._found.new_paths.first(identity)
        return self._others[identity] if new is None else (self._found.old_place(identity), new)

    def __iter__(self) -> Iterator[Identity]:
        yield from self._found.new_paths
        yield from self._others

    def __len__(self) -> int:
        return len(self._found.new_paths) + len(self._others)
