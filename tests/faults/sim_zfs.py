"""ZFS as zdiffsync sees it: the program `zfs`, its two streams, and the trees of snapshots.

Rule: answers as the real one does, its rows in object order and one a hard-linked object, its stream naming
every changed object; what is refused is refused in its words.
"""

import io
import os
import stat
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import sim
from sim_tree import ROOT, Clock, LiveTree, Obj, Objects, links, lookup

from zdiffsync.errors import ToolStalledError, ZfsError
from zdiffsync.external.process import Completed
from zdiffsync.external.tree import Identity, Listed, SnapshotTree
from zdiffsync.external.zfs import OWNER_PROPERTY, SAFE_PROPERTY

MOUNTED = b"/sim/"
_PAGE = 4096


@dataclass(slots=True)
class SimSnapshot:
    """A snapshot; `created` in seconds."""

    label: str
    guid: int
    txg: int
    created: int
    owner: str
    objects: Objects
    holds: set[str] = field(default_factory=set)
    safe: str = ""
    deferred: bool = False


@dataclass(slots=True)
class SimDataset:
    """A mounted file system with its snapshots, oldest first."""

    guid: int
    tree: LiveTree
    snapshots: list[SimSnapshot] = field(default_factory=list)


class SimZfs:
    """All datasets. `history` keeps what every snapshot held, by guid, for ever."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.datasets: dict[str, SimDataset] = {}
        self.history: dict[int, Objects] = {}

    def create(self, name: str) -> LiveTree:
        tree = LiveTree(self.clock)
        self.datasets[name] = SimDataset(1000 + len(self.datasets), tree)
        return tree

    def snapshot(self, name: str, label: str, owner: str = "") -> SimSnapshot:
        dataset = self.datasets[name]
        snapshot = SimSnapshot(
            label, (self.clock.txg << 20) + dataset.guid, self.clock.txg,
            self.clock.now_ns // 10**9, owner, dict(dataset.tree.objects),
        )  # fmt: skip
        dataset.snapshots.append(snapshot)
        self.history[snapshot.guid] = snapshot.objects
        return snapshot

    def find(self, name: str) -> SimSnapshot | None:
        dataset, _, label = name.partition("@")
        there = self.datasets[dataset].snapshots if dataset in self.datasets else ()
        return next((snapshot for snapshot in there if snapshot.label == label), None)

    # the program

    def run(self, arguments: Sequence[str]) -> Completed:
        """Run `zfs`, as run_tool does; whatever only asks can fail in the same ways."""
        command = "list" if arguments[0] in {"get", "holds"} else arguments[0]
        what = sim.steps().reached(f"zfs.{command}")
        if what == "error":
            return Completed(b"", b"cannot open '/dev/zfs': Input/output error\n", 1)
        if what == "hang":
            raise ToolStalledError("zfs did not end within 300 s and was stopped")
        try:
            done = Completed(self._command(arguments).encode(), b"", 0)
        except _Refusal as refusal:
            done = Completed(b"", f"cannot {arguments[0]}: {refusal}\n".encode(), 1)
        sim.steps().done(what)
        if what == "error-after":
            return Completed(b"", b"internal error: Input/output error\n", 1)
        if what == "hang-after":
            raise ToolStalledError("zfs did not end within 300 s and was stopped")
        return done

    def _command(self, arguments: Sequence[str]) -> str:
        commands = {
            "list": self._list, "get": self._get, "snapshot": self._take, "hold": self._hold,
            "holds": self._holds, "release": self._release, "destroy": self._destroy, "set": self._set,
        }  # fmt: skip
        return commands[arguments[0]](arguments) or ""

    def _hold(self, arguments: Sequence[str]) -> None:
        _, tag, name = arguments
        if tag in self._existing(name).holds:
            raise _Refusal(f"'{name}': tag already exists on this dataset")
        self._existing(name).holds.add(tag)

    def _release(self, arguments: Sequence[str]) -> None:
        _, tag, name = arguments
        if tag not in self._existing(name).holds:
            raise _Refusal(f"'{name}': no such tag on this dataset")
        found = self._existing(name)
        found.holds.remove(tag)
        if found.deferred:
            self._free(name)

    def _holds(self, arguments: Sequence[str]) -> str:
        held = {name: sorted(self._existing(name).holds) for name in arguments[2:]}
        return "".join(f"{name}\t{tag}\tnow\n" for name, tags in held.items() for tag in tags)

    def _destroy(self, arguments: Sequence[str]) -> None:
        *_, name = arguments
        self._existing(name).deferred = True
        self._free(name)

    def _free(self, name: str) -> None:
        found = self._existing(name)
        if not found.holds:
            dataset = self.datasets[name.partition("@")[0]]
            dataset.snapshots = [each for each in dataset.snapshots if each is not found]

    def _set(self, arguments: Sequence[str]) -> None:
        _, assignment, name = arguments
        key, _, value = assignment.partition("=")
        assert key == SAFE_PROPERTY
        self._existing(name).safe = value

    def _existing(self, name: str) -> SimSnapshot:
        found = self.find(name)
        if found is None:
            raise _Refusal(f"'{name}': could not find any snapshots to destroy; dataset does not exist")
        return found

    def _list(self, arguments: Sequence[str]) -> str:
        name = arguments[-1]
        if name not in self.datasets:
            raise _Refusal(f"'{name}': dataset does not exist")
        names = [
            each
            for each in self.datasets
            if each == name or ("-r" in arguments and each.startswith(name + "/"))
        ]
        return "".join(
            f"{each}\tfilesystem\t{self.datasets[each].guid}\t{os.fsdecode(mountpoint(each))}\tyes\t-\t-\n"
            for each in names
        )

    def _get(self, arguments: Sequence[str]) -> str:
        name = arguments[-1]
        if name not in self.datasets:
            raise _Refusal(f"'{name}': dataset does not exist")
        if "snapshot" not in arguments:
            return "-\n"  # nothing here is a clone
        rows = []
        for each in self.datasets[name].snapshots:
            values = {
                "guid": each.guid, "createtxg": each.txg, "creation": each.created,
                "userrefs": len(each.holds), OWNER_PROPERTY: each.owner or "-",
                SAFE_PROPERTY: each.safe or "-",
            }  # fmt: skip
            rows += [f"{name}@{each.label}\t{key}\t{value}\tlocal\n" for key, value in values.items()]
        return "".join(rows)

    def _take(self, arguments: Sequence[str]) -> str:
        names = [argument for argument in arguments[1:] if "@" in argument]
        owner = next(each.partition("=")[2] for each in arguments if each.startswith(OWNER_PROPERTY))
        if taken := [name for name in names if self.find(name)]:
            raise _Refusal(f"'{taken[0]}': dataset already exists")
        for name in names:
            dataset, _, label = name.partition("@")
            self.snapshot(dataset, label, owner)
        self.clock.txg += 1
        self.clock.tick()
        return ""

    # the streams

    @contextmanager
    def stream(self, arguments: Sequence[str]) -> Iterator["Running"]:
        """Start `zfs diff` or `zfs send`, as stream_tool does."""
        what = sim.steps().reached(f"zfs.{arguments[0]}")
        old, new = (self._existing(name) for name in arguments[-2:])
        if arguments[0] == "diff":
            data = b"".join(diff_rows(old.objects, new.objects, mountpoint(arguments[-1].partition("@")[0])))
        else:
            data = send_stream(old.objects, new.objects)
        sim.steps().done(what)
        match what:
            case "error":
                yield Running(b"", b"internal error: Input/output error\n", 1)
            case "cut":
                yield Running(data[: len(data) // 2], b"Killed\n", 137)
            case "complaint":
                yield Running(data[: len(data) // 2], b"Unable to determine path or stats for object 7\n", 0)
            case "hang":
                yield Running(b"", b"", None)
            case _:
                yield Running(data, b"", 0)


class _Refusal(Exception):  # noqa: N818 - what `zfs` says, not an error of ours
    pass


class Running:
    """A started tool; one without an exit code hangs until the watchdog ends it."""

    def __init__(self, stdout: bytes, stderr: bytes, code: int | None) -> None:
        self.stdout, self._stderr, self._code = io.BytesIO(stdout), stderr, code

    def wait(self) -> Completed:
        if self._code is None:
            raise ToolStalledError("zfs said nothing for 900 s and was stopped")
        return Completed(b"", self._stderr, self._code)


def mountpoint(dataset: str) -> bytes:
    return MOUNTED + os.fsencode(dataset)


# what `zfs diff -FHt` prints

_LETTERS = {
    stat.S_IFDIR: b"/", stat.S_IFREG: b"F", stat.S_IFLNK: b"@", stat.S_IFIFO: b"|", stat.S_IFSOCK: b"=",
}  # fmt: skip


def diff_rows(old: Objects, new: Objects, root: bytes) -> Iterator[bytes]:
    """Yield the rows between two states."""
    were, are = _shown(old), _shown(new)
    for number in sorted(were.keys() | are.keys()):
        before, now = old.get(number), new.get(number)
        if before and now and before.generation == now.generation:
            if before.ctime_ns == now.ctime_ns:
                continue
            if were[number][0] == are[number][0]:
                yield _row(b"M", now, root, are[number][1])
            else:
                yield _row(b"R", now, root, were[number][1], are[number][1])
            continue
        if before:
            yield _row(b"-", before, root, were[number][1])
        if now:
            yield _row(b"+", now, root, are[number][1])


def _shown(objects: Objects) -> dict[int, tuple[tuple[int, bytes], bytes]]:
    """Return (parent, name) and path of the one name by which each object is shown."""
    found: dict[int, tuple[tuple[int, bytes], bytes]] = {ROOT: ((0, b""), b"")}
    stack = [(b"", ROOT)]
    while stack:
        path, number = stack.pop()
        for name, child in objects[number].children.items():
            below = path + b"/" + name if path else name
            if child not in found:
                found[child] = (number, name), below
                stack.append((below, child))
    return found


def _row(kind: bytes, obj: Obj, root: bytes, *paths: bytes) -> bytes:
    fields = [b"%d.0" % (obj.ctime_ns // 10**9), kind, _LETTERS[obj.kind]]
    fields += [_escaped(root + b"/" + path) for path in paths]
    return b"\t".join(fields) + b"\n"


def _escaped(path: bytes) -> bytes:
    return b"".join(
        b"\\%04o" % byte if byte <= 0x20 or byte >= 0x7F or byte == 0x5C else bytes([byte]) for byte in path
    )


# what `zfs send -i` sends: struct dmu_replay_record


def send_stream(old: Objects, new: Objects) -> bytes:
    """Return the incremental stream between two states."""
    parts = [_record(0, {8: ("Q", 0x2F5BACBAC), 16: ("Q", 1), 32: ("I", 2)})]
    count = links(new)
    for number, obj in sorted(new.items()):
        before = old.get(number)
        if before == obj:
            continue
        fresh = before is None or before.generation != obj.generation
        directory = obj.kind == stat.S_IFDIR
        bonus = _bonus(obj, count[number])
        fields = {8: ("Q", number), 16: ("I", 20 if directory else 19), 28: ("I", len(bonus))}
        parts += [_record(1, fields), bonus]
        data = _directory_data(obj) if directory else obj.data
        was = b"" if fresh or before is None else _directory_data(before) if directory else before.data
        for offset in range(0, len(data), _PAGE):
            if fresh or data[offset : offset + _PAGE] != was[offset : offset + _PAGE]:
                fields = {8: ("Q", number), 24: ("Q", offset), 32: ("Q", _PAGE)}
                parts += [_record(3, fields), bytes(_PAGE)]
        end = -(-len(data) // _PAGE) * _PAGE
        parts.append(_record(4, {8: ("Q", number), 16: ("Q", end), 24: ("Q", (1 << 64) - 1)}))
    return b"".join([*parts, _record(5, {})])


def _directory_data(obj: Obj) -> bytes:
    return repr(sorted(obj.children.items())).encode()


def _bonus(obj: Obj, count: int) -> bytes:
    values = [0] * 16
    values[0], values[1], values[2] = obj.kind | obj.mode, len(obj.data), obj.generation
    values[11], values[12], values[15] = obj.ctime_ns // 10**9, obj.ctime_ns % 10**9, count
    return struct.pack("<IHH", 0x2F505A, (8 // 8) << 10, 0) + struct.pack("<16Q", *values)


def _record(kind: int, fields: Mapping[int, tuple[str, int]]) -> bytes:
    record = bytearray(312)
    struct.pack_into("<I", record, 0, kind)
    for offset, (code, value) in fields.items():
        struct.pack_into("<" + code, record, offset, value)
    return bytes(record)


# what lies below .zfs/snapshot


class SimTree(SnapshotTree):
    """The tree of a snapshot, seen as SnapshotTree shows it."""

    def __init__(self, root: bytes) -> None:
        self.root = root
        dataset, _, label = os.fsdecode(root.removeprefix(MOUNTED)).rpartition("/.zfs/snapshot/")
        snapshot = sim.world().zfs.find(f"{dataset}@{label}")
        if snapshot is None:
            raise ZfsError(f"cannot open the snapshot at {os.fsdecode(root)}: No such file or directory")
        self.objects = snapshot.objects
        self._links = links(self.objects)
        sim.TREES[id(self)] = self.objects

    def __exit__(self, *_exc: object) -> None:
        del sim.TREES[id(self)]

    @property
    def descriptor(self) -> int:
        return id(self)

    def lstat(self, path: bytes) -> os.stat_result | None:
        obj = lookup(self.objects, path)
        return None if obj is None else self._stat(obj)

    def _stat(self, obj: Obj) -> os.stat_result:
        size = len(obj.data) if obj.target is None else len(obj.target)
        basic = (obj.kind | obj.mode, obj.number, 1, self._links[obj.number], obj.uid, obj.gid, size, 0, 0, 0)
        times = {"st_atime_ns": 0, "st_mtime_ns": obj.mtime_ns, "st_ctime_ns": obj.ctime_ns, "st_rdev": 0}
        return os.stat_result(basic, times)

    def identity(self, path: bytes) -> Identity | None:
        obj = lookup(self.objects, path)
        return None if obj is None else Identity(obj.number, obj.generation)

    def names(self, path: bytes) -> Iterator[Listed]:
        obj = lookup(self.objects, path)
        for name, number in obj.children.items() if obj else ():
            yield Listed(name, number, self.objects[number].kind == stat.S_IFDIR)

    @contextmanager
    def opened(self, path: bytes, flags: int = 0) -> Iterator[int]:
        del flags
        obj = lookup(self.objects, path)
        if obj is None:
            raise FileNotFoundError(path)
        fd = os.memfd_create("sim")
        try:
            os.ftruncate(fd, len(obj.data))
            for offset in range(0, len(obj.data), _PAGE):
                page = obj.data[offset : offset + _PAGE]
                if page.strip(b"\0"):
                    os.pwrite(fd, page, offset)
            yield fd
        finally:
            with suppress(OSError):
                os.close(fd)

    def entry(self, path: bytes, known: os.stat_result | None = None):
        del known
        obj = lookup(self.objects, path)
        if obj is None:
            raise FileNotFoundError(path)
        return sim.entry(obj)
