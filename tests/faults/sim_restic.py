"""restic as zdiffsync sees it, and its repository: directories in restic's own form, blobs by their digest.

What real restic encrypts and packs lies here as one object a blob, on the same remote. Rule: a snapshot is
stored last, and what it needs before.
"""

import base64
import hashlib
import json
import os
import secrets
import stat
import time as clock
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import sim
from sim_tree import ROOT, Obj, Objects, links

from zdiffsync.bases.index import Place
from zdiffsync.bases.nodes import BaseNode, decode_tree
from zdiffsync.errors import IntegrityError, ResticError, ToolStalledError
from zdiffsync.external.restic import BackupSummary, BasesDamagedError, Restic, ResticSnapshot, RestoreSummary
from zdiffsync.external.restic_patterns import exact_patterns
from zdiffsync.model.entry import EntryType
from zdiffsync.model.progress import Progress

_CHUNK = 20_000  # bytes
_GO_KINDS = {
    stat.S_IFREG: 0, stat.S_IFDIR: 1 << 31, stat.S_IFLNK: 1 << 27, stat.S_IFIFO: 1 << 25,
}  # fmt: skip


def _name(blob: str) -> str:
    return f"restic/data/{blob[:2]}/{blob}"


def _put(data: bytes) -> str:
    identifier = hashlib.sha256(data).hexdigest()
    sim.world().remote.objects.setdefault(_name(identifier), data)
    return identifier


def _get(identifier: str) -> bytes:
    data = sim.world().remote.objects.get(_name(identifier))
    if data is None:
        raise IntegrityError(f"restic: blob {identifier} is not in the repository")
    if hashlib.sha256(data).hexdigest() != identifier:
        raise IntegrityError(f"restic: blob {identifier} is damaged")
    return data


def _reached(command: str) -> str:
    what = sim.steps().reached(f"restic.{command}")
    if sim.steps().dead == "remote":
        what = "error"
    if what == "error":
        raise ResticError(f"restic {command}: Fatal: unable to open repository: too many requests (429)")
    if what == "hang":
        raise ToolStalledError("restic said nothing for 3600 s and was stopped")
    return what


def _done(command: str, what: str) -> None:
    sim.steps().done(what)
    if what == "error-after":
        raise ResticError(f"restic {command}: Fatal: connection reset by peer")


class SimRestic(Restic):
    """See external.restic."""

    def version(self) -> tuple[int, ...]:
        return (0, 18, 0)

    def init(self) -> None:
        what = _reached("init")
        sim.world().remote.objects["restic/config"] = b"{}"
        _done("init", what)

    def exists(self) -> bool:
        return "restic/config" in sim.world().remote.objects

    def backup(
        self,
        directory: int,
        *,
        parent: str | None,
        tags: Sequence[str],
        host: str,
        time: datetime,
        exclude_file: Path | None,
        progress: Progress,
        stall: float,
        reread: bool = False,
    ) -> BackupSummary:
        del progress, stall
        what = _reached("backup")
        with sim.steps().outside():
            lines = exclude_file.read_bytes().splitlines() if exclude_file else []
        objects = sim.TREES[directory]
        root = next(os.fsencode(f"/sim/{name}/.zfs/snapshot/{each.label}")
                    for name, dataset in sim.world().zfs.datasets.items()
                    for each in dataset.snapshots if each.objects is objects)  # fmt: skip
        writer = _Writer(objects, frozenset(lines), root, None if reread else parent)
        tree = writer.directory(ROOT, b"")
        if what == "kill-half":
            for name in list(sim.world().remote.objects)[-len(writer.written) // 2 :]:
                del sim.world().remote.objects[name]
            sim.steps().kill()
        identifier = secrets.token_hex(32)
        content = {"tree": tree, "time": time.astimezone(UTC).isoformat(), "host": host, "tags": list(tags)}
        sim.world().remote.objects[f"restic/snapshots/{identifier}"] = json.dumps(content).encode()
        _done("backup", what)
        size = sum(len(each.data) for each in objects.values())
        return BackupSummary(identifier, len(objects), 0, 0, size, size, size, size, 0.1, ())

    def restore(
        self,
        snapshot: str,
        subdirectory: bytes | None,
        target: Path,
        *,
        includes: Sequence[bytes] | None,
        progress: Progress,
        sparse: bool = True,
    ) -> RestoreSummary:
        del progress, sparse, subdirectory
        what = _reached("restore")
        wanted = None if includes is None else tuple(includes)
        files = [
            (path, node) for path, node in _below(_snapshot(snapshot)["tree"], b"")
            if wanted is None or any(path == each or path.startswith(each + b"/") for each in wanted)
            or any(each.startswith(path + b"/") for each in wanted)
        ]  # fmt: skip
        if what in {"half", "kill-half"}:
            files = files[: len(files) // 2]
        with sim.steps().outside():
            _write(os.fsencode(target), files)
        if what == "kill-half":
            sim.steps().kill()
        _done("restore", "error-after" if what == "half" else what)
        return RestoreSummary(len(files), sum(node.entry.size for _, node in files), ())

    def dump(self, snapshot: str, path: bytes, out: BinaryIO) -> None:
        found = dict(_below(_snapshot(snapshot)["tree"], b""))
        out.write(_content(found[path]))

    def snapshots(self, tags: Sequence[str] = ()) -> list[ResticSnapshot]:
        what = _reached("snapshots")
        found = [
            ResticSnapshot(name.rpartition("/")[2], datetime.fromisoformat(content["time"]),
                           content["host"], tuple(content["tags"]))
            for name, content in _all_snapshots() if set(tags) <= set(content["tags"])
        ]  # fmt: skip
        _done("snapshots", what)
        return sorted(found, key=lambda each: each.time)

    def forget(self, snapshots: Sequence[str], *, prune: bool) -> None:
        what = _reached("forget")
        for each in snapshots:
            sim.world().remote.objects.pop(f"restic/snapshots/{each}", None)
            if what == "kill-half":
                sim.steps().kill()
        if prune:
            used = {blob for _, content in _all_snapshots() for blob in _used(content["tree"])}
            for name in list(sim.world().remote.objects):
                if name.startswith("restic/data/") and name.rpartition("/")[2] not in used:
                    del sim.world().remote.objects[name]
        _done("forget", what)

    def check(self, read_data_subset: str | None) -> None:
        what = _reached("check")
        for _, content in _all_snapshots():
            for blob in _used(content["tree"]):
                try:
                    if read_data_subset is not None or _name(blob) not in sim.world().remote.objects:
                        _get(blob)
                except IntegrityError as error:
                    raise BasesDamagedError(str(error), frozenset([blob])) from error
        _done("check", what)


def _all_snapshots() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, data in list(sim.world().remote.objects.items()):
        if name.startswith("restic/snapshots/"):
            yield name, json.loads(data)


def _snapshot(identifier: str) -> dict[str, Any]:
    data = sim.world().remote.objects.get(f"restic/snapshots/{identifier}")
    if data is None:
        raise ResticError(f"restic: no matching ID found for prefix {identifier}")
    found: dict[str, Any] = json.loads(data)
    return found


def _used(tree: str) -> Iterator[str]:
    yield tree
    for node in decode_tree(_get(tree)).values():
        if node.subtree:
            yield from _used(node.subtree)
        yield from _chunks(node)


def _chunks(node: BaseNode) -> list[str]:
    return [node.content[at : at + 32].hex() for at in range(0, len(node.content), 32)]


def _content(node: BaseNode) -> bytes:
    return b"".join(map(_get, _chunks(node)))


def _below(tree: str, prefix: bytes) -> Iterator[tuple[bytes, BaseNode]]:
    for name, node in sorted(decode_tree(_get(tree)).items()):
        yield prefix + name, node
        if node.subtree:
            yield from _below(node.subtree, prefix + name + b"/")


def _write(target: bytes, files: Sequence[tuple[bytes, BaseNode]]) -> None:
    """Write nodes as restic does, metadata of directories last; what is there from before goes."""
    first: dict[int, bytes] = {}
    for path, node in files:
        place, entry = target + b"/" + path, node.entry
        if os.path.lexists(place) and entry.type is not EntryType.DIRECTORY:
            os.unlink(place)
        if entry.type is EntryType.DIRECTORY:
            os.makedirs(place, exist_ok=True)
        elif node.links > 1 and node.inode in first:
            os.link(first[node.inode], place, follow_symlinks=False)
        elif entry.type is EntryType.SYMLINK:
            os.symlink(entry.target or b"", place)
        elif entry.type is EntryType.FIFO:
            os.mkfifo(place)
        else:
            with open(place, "wb") as file:
                file.write(_content(node))
        first.setdefault(node.inode, place)
    for path, node in reversed(files):
        place, entry = target + b"/" + path, node.entry
        os.lchown(place, entry.uid, entry.gid)
        if entry.type is not EntryType.SYMLINK:
            os.chmod(place, entry.mode)
        for key, value in entry.xattrs:
            os.setxattr(place, key, value, follow_symlinks=False)
        os.utime(place, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)


class _Writer:
    """Stores a tree, taking what looks unchanged from the parent unread, as restic does."""

    def __init__(self, objects: Objects, without: frozenset[bytes], root: bytes, parent: str | None) -> None:
        self._objects, self._without, self._root = objects, without, root
        self._links = links(objects)
        self._before: dict[bytes, dict[str, Any]] = {}
        self.written: list[str] = []
        if parent is not None:
            self._remember(_snapshot(parent)["tree"], b"")

    def _remember(self, tree: str, prefix: bytes) -> None:
        for node in json.loads(_get(tree))["nodes"]:
            path = prefix + base64.b64decode(node["raw"])
            self._before[path] = node
            if "subtree" in node:
                self._remember(node["subtree"], path + b"/")

    def directory(self, number: int, path: bytes) -> str:
        nodes = []
        for name, child in sorted(self._objects[number].children.items()):
            below = path + b"/" + name if path else name
            obj = self._objects[child]
            if obj.kind == stat.S_IFSOCK or exact_patterns(self._root, [below])[0] in self._without:
                continue
            nodes.append(self._node(name, obj, below))
        return self._store(json.dumps({"nodes": nodes}, sort_keys=True).encode())

    def _store(self, data: bytes) -> str:
        self.written.append(_put(data))
        return self.written[-1]

    def _node(self, name: bytes, obj: Obj, path: bytes) -> dict[str, Any]:
        counted = obj.kind not in {stat.S_IFDIR, stat.S_IFIFO}
        node: dict[str, Any] = {
            "name": _quoted(name), "raw": base64.b64encode(name).decode(), "mode": _go_mode(obj),
            "mtime": _time(obj.mtime_ns), "ctime": obj.ctime_ns, "uid": obj.uid, "gid": obj.gid,
            "inode": obj.number, "links": self._links[obj.number] if counted else 0,
            "extended_attributes": [
                {"name": key.decode(), "value": base64.b64encode(value).decode()} for key, value in obj.xattrs
            ],
        }  # fmt: skip
        if obj.kind == stat.S_IFDIR:
            node["subtree"] = self.directory(obj.number, path)
        elif obj.kind == stat.S_IFREG:
            node["size"] = len(obj.data)
            node["content"] = self._file(obj, self._before.get(path, {}))
        elif obj.target is not None:
            node["linktarget"] = os.fsdecode(obj.target).encode("utf-8", "replace").decode()
            node["linktarget_raw"] = base64.b64encode(obj.target).decode()
        return node

    def _file(self, obj: Obj, before: Mapping[str, Any]) -> list[str]:
        looks = (obj.number, len(obj.data), obj.ctime_ns, _time(obj.mtime_ns))
        if looks == tuple(before.get(key) for key in ("inode", "size", "ctime", "mtime")):
            return list(before["content"])
        return [self._store(obj.data[start : start + _CHUNK]) for start in range(0, len(obj.data), _CHUNK)]


def _quoted(name: bytes) -> str:
    plain = set(range(0x20, 0x7F)) - set(b'"\\')
    return "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in name)


def _go_mode(obj: Obj) -> int:
    mode = _GO_KINDS[obj.kind] | (obj.mode & 0o777)
    for bit, go_bit in ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20)):
        mode |= go_bit if obj.mode & bit else 0
    return mode


def _time(ns: int) -> str:
    seconds, rest = divmod(ns, 10**9)
    return clock.strftime("%Y-%m-%dT%H:%M:%S", clock.gmtime(seconds)) + f".{rest:09d}Z"


class SimObjects:
    """The objects of the repository; see bases.objects. Reads through the area, as the real one does."""

    def __init__(self, area: Any, _password: object, _folder: Path, cache: Any, *, sparing: bool) -> None:
        self._area = area
        self._packs = cache.over(area, "restic", sparing=sparing)

    def snapshot_tree(self, snapshot: str) -> str:
        found: str = json.loads(self._area.read_all(f"restic/snapshots/{snapshot}", 1 << 20))["tree"]
        return found

    def place(self, blob: bytes) -> Place:
        data = sim.world().remote.objects.get(_name(blob.hex()))  # an index, kept on disk
        if data is None:
            raise IntegrityError(f"the restic repository lacks blob {blob.hex()}")
        return Place(blob.hex(), 0, len(data), len(data))

    def plain_size(self, place: Place) -> int:
        return place.length

    def blob(self, blob: bytes) -> bytes:
        place = self.place(blob)
        for _ in range(2):
            data: bytes = self._packs.read(_name(place.pack), 0, place.length)
            if hashlib.sha256(data).digest() == blob:
                return data
            self._packs.drop(_name(place.pack), 0, place.length)
        raise IntegrityError(f"blob {blob.hex()[:16]} of the base does not match its digest")

    def refresh(self) -> None:
        """Nothing is kept."""
