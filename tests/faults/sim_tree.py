"""A dataset's tree as a model: objects with numbers and generations, names, and what snapshots remember.

Objects are immutable, so a snapshot is a copy of the table of objects. Rule: behaves as ZFS does where
zdiffsync can tell the difference: numbers are used again, generations tell, every change moves a ctime.
"""

import hashlib
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from oracle import State

ROOT = 34
_FIRST = 128
_BLOCK = 65536  # the oracle's


@dataclass(frozen=True, slots=True)
class Obj:
    """One object. `kind` is S_IFREG and its like, `children` a directory's names; times in ns."""

    number: int
    generation: int
    kind: int
    mode: int
    mtime_ns: int
    ctime_ns: int
    uid: int = 0
    gid: int = 0
    data: bytes = b""
    target: bytes | None = None
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    children: Mapping[bytes, int] = field(default_factory=dict)


Objects = Mapping[int, Obj]


@dataclass(slots=True)
class Clock:
    """The world's time in ns, and its transaction group."""

    now_ns: int = 1_764_000_000 * 10**9
    txg: int = 10

    def tick(self, ns: int = 1_000_000) -> int:
        self.now_ns += ns
        return self.now_ns


class LiveTree:
    """The mounted tree of a dataset; paths are relative to it. Wrong use raises KeyError or ValueError."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.objects: dict[int, Obj] = {}
        self._make(stat.S_IFDIR, 0o755, ROOT)

    def find(self, path: bytes) -> Obj | None:
        return lookup(self.objects, path)

    def write(self, path: bytes, data: bytes) -> None:
        """Make a file or give it other bytes."""
        found = self.find(path)
        if found is None:
            self._name(path, self._make(stat.S_IFREG, 0o644, data=data))
        else:
            now = self.clock.tick()
            self._put(replace(found, data=data, mtime_ns=now, ctime_ns=now))

    def patch(self, path: bytes, offset: int, data: bytes) -> None:
        """Overwrite a part of a file."""
        old = self._found(path).data
        self.write(path, old[:offset].ljust(offset, b"\0") + data + old[offset + len(data) :])

    def mkdir(self, path: bytes) -> None:
        self._name(path, self._make(stat.S_IFDIR, 0o755))

    def symlink(self, path: bytes, target: bytes) -> None:
        self._name(path, self._make(stat.S_IFLNK, 0o777, target=target))

    def mkfifo(self, path: bytes) -> None:
        self._name(path, self._make(stat.S_IFIFO, 0o600))

    def socket(self, path: bytes) -> None:
        self._name(path, self._make(stat.S_IFSOCK, 0o600))

    def link(self, path: bytes, new: bytes) -> None:
        """Give a file another name."""
        found = self._found(path)
        self._name(new, found.number)
        self._touch(found.number)

    def remove(self, path: bytes) -> None:
        """Remove what is there, with all below it."""
        found = self._found(path)
        for name in found.children:
            self.remove(path + b"/" + name)
        self._unname(path)
        if found.number in links(self.objects):
            self._touch(found.number)
        else:
            del self.objects[found.number]

    def rename(self, path: bytes, new: bytes) -> None:
        """Move to a name; what has it goes. ValueError where a directory would come into itself."""
        if (new + b"/").startswith(path + b"/"):
            raise ValueError(new)
        moved = self._found(path)
        there = self.find(new)
        if there is not None and there.number == moved.number:
            return
        self._directory(new)
        if there is not None:
            self.remove(new)
        self._unname(path)
        self._name(new, moved.number)
        self._touch(moved.number)

    def change(self, path: bytes, **values: object) -> None:
        """Set mode, uid, gid, xattrs or mtime_ns."""
        self._put(replace(self._found(path), ctime_ns=self.clock.tick(), **values))  # type: ignore[arg-type]

    def paths(self, *kinds: int) -> list[bytes]:
        """Return all paths of these types (none: all) below the root, sorted."""
        return sorted(path for path, obj in walk(self.objects) if path and (not kinds or obj.kind in kinds))

    def _found(self, path: bytes) -> Obj:
        found = self.find(path)
        if found is None:
            raise KeyError(path)
        return found

    def _make(self, kind: int, mode: int, number: int | None = None, **values: object) -> int:
        now = self.clock.tick()
        if number is None:
            number = _FIRST
            while number in self.objects:
                number += 1
        obj = Obj(number, self.clock.txg, kind, mode, now, now, **values)  # type: ignore[arg-type]
        self._put(obj)
        return number

    def _put(self, obj: Obj) -> None:
        self.objects[obj.number] = obj

    def _touch(self, number: int) -> None:
        self._put(replace(self.objects[number], ctime_ns=self.clock.tick()))

    def _directory(self, path: bytes) -> Obj:
        directory = self._found(path.rpartition(b"/")[0])
        if directory.kind != stat.S_IFDIR:
            raise ValueError(path)
        return directory

    def _name(self, path: bytes, number: int) -> None:
        self._set(path, number)

    def _unname(self, path: bytes) -> None:
        self._set(path, None)

    def _set(self, path: bytes, number: int | None) -> None:
        try:
            directory = self._directory(path)
        except (KeyError, ValueError):
            if number is not None and number not in links(self.objects):
                del self.objects[number]
            raise
        name = path.rpartition(b"/")[2]
        children = {each: to for each, to in directory.children.items() if each != name}
        if number is not None:
            children[name] = number
        now = self.clock.tick()
        self._put(replace(directory, children=children, mtime_ns=now, ctime_ns=now))


def lookup(objects: Objects, path: bytes) -> Obj | None:
    """Return what stands at a path."""
    found = objects[ROOT]
    for name in path.split(b"/") if path else ():
        number = found.children.get(name)
        if number is None:
            return None
        found = objects[number]
    return found


def walk(objects: Objects) -> Iterator[tuple[bytes, Obj]]:
    """Yield every path with its object, the root first."""
    stack = [(b"", objects[ROOT])]
    while stack:
        path, obj = stack.pop()
        yield path, obj
        stack += [
            (path + b"/" + name if path else name, objects[number]) for name, number in obj.children.items()
        ]


def links(objects: Objects) -> dict[int, int]:
    """Return how many names every object has."""
    count = {ROOT: 1}
    for obj in objects.values():
        for number in obj.children.values():
            count[number] = count.get(number, 0) + 1
    return count


def states(objects: Objects) -> dict[bytes, State]:
    """Return what the oracle would read from this tree."""
    groups: dict[int, list[bytes]] = {}
    for path, obj in walk(objects):
        groups.setdefault(obj.number, []).append(path)
    found = {}
    for path, obj in walk(objects):
        regular = obj.kind == stat.S_IFREG
        group = sorted(groups[obj.number])
        found[path] = State(
            type=obj.kind, mode=obj.mode, uid=obj.uid, gid=obj.gid, mtime_ns=obj.mtime_ns,
            size=len(obj.data) if regular else 0, rdev=0, target=obj.target,
            xattrs=tuple((name.decode(), value) for name, value in obj.xattrs),
            digest=_digest(obj.data) if regular else None, group=tuple(group) if len(group) > 1 else (),
        )  # fmt: skip
    return found


def _digest(data: bytes) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(data), _BLOCK):
        block = data[start : start + _BLOCK]
        if block.count(0) != len(block):
            digest.update(b"%d:" % start + block)
    digest.update(b"%d" % len(data))
    return digest.hexdigest()
