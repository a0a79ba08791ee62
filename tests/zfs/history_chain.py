"""A chain of points without a remote: detection, packing and the catalog on real snapshots.

What restic and rclone would keep is read where it is: the base from its own ZFS snapshot, packs from the
folder they were staged in. So thousands of changes a minute can be held against what a point says.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from zdiffsync.backup.certificate import Certificate
from zdiffsync.backup.changes import ChangeSet, Detection
from zdiffsync.backup.contents import ContentSettings, ContentStore
from zdiffsync.backup.excludes import Excludes
from zdiffsync.backup.packer import Packer
from zdiffsync.backup.point import PointBuilder
from zdiffsync.backup.reconcile import Reconciler
from zdiffsync.backup.survey import supplement, survey
from zdiffsync.backup.tally import tally
from zdiffsync.catalog.catalog import Catalog, Point
from zdiffsync.catalog.view import Node, PointView
from zdiffsync.external import zfs
from zdiffsync.external.files import FileSource
from zdiffsync.external.tree import Identity, SnapshotTree
from zdiffsync.external.zfs_diff import Diff, diff
from zdiffsync.external.zfs_send import incremental_stream
from zdiffsync.format.delta_pool import DeltaPool
from zdiffsync.format.manifest import IN_BASE, Header, ManifestWriter, PackRecord, read_manifest
from zdiffsync.format.send_stream import read_objects
from zdiffsync.format.windows import BlobRef
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.restore.contents import ContentReader, FetchBlob, MemorySource
from zdiffsync.store.names import pack_name

SETTINGS = ContentSettings(large_file=64 << 10)
_PACK = 1 << 20  # bytes


ROWS, STREAM, TREES = FEEDS = ("zfs diff", "send stream", "tree comparison")


class LocalChain:
    """A base and its increments; all snapshots are kept.

    `growth` is by how many files the last increment grew: as the tripwire counts it, and counted.
    """

    def __init__(self, home: Path, dataset: str, pool: DeltaPool, excludes: Excludes) -> None:
        self.home, self.dataset, self._pool, self.excludes = home, dataset, pool, excludes
        self._stack = ExitStack()
        self.catalog = self._stack.enter_context(Catalog(home / "catalog.sqlite"))
        self._key = secrets.token_hex(8)
        self._not_in_base: frozenset[bytes] = frozenset()
        self.points: list[Point] = []
        self.snapshots: list[zfs.Snapshot] = []
        self.detection = Detection("")
        self.growth = 0, 0

    def close(self) -> None:
        self._stack.close()

    def snapshot(self) -> zfs.Snapshot:
        """Take the next snapshot."""
        zfs.take_snapshots([self.dataset], f"s{len(self.snapshots)}", owner="test")
        self.snapshots.append(zfs.snapshots(self.dataset)[-1])
        return self.snapshots[-1]

    def tree(self, snapshot: zfs.Snapshot) -> SnapshotTree:
        return SnapshotTree(zfs.snapshot_directory(snapshot.dataset, snapshot.label))

    def base(self) -> None:
        """Make the first point."""
        with self.tree(self.snapshot()) as tree:
            found = survey(tree, self.excludes, _silent)
            self._not_in_base = frozenset(found.left_to_us) | frozenset(found.excluded)
            changes = supplement(tree, found)
            ours = set(found.names.values()) - {found.names[b""]}

            def base_path(identity: Identity, _old_path: bytes | None) -> bytes | None:
                return None if identity in ours else changes.places[identity][1]

            self._point(changes, None, tree, base_path, None)

    def increment(self, *, feed: str, certified: bool) -> None:
        """Make the next point. `feed`, one of FEEDS, says what changed."""
        last, before = self.points[-1], self.snapshots[-1]
        now = self.snapshot()
        root = zfs.mountpoint(self.dataset)
        rows: Diff | None = None
        if feed == TREES:
            rows = Diff((), "no hints wanted")
        elif feed == ROWS:
            rows = diff(before.name, now.name, root)
        stream = None
        if certified:
            with incremental_stream(before.name, now.name) as data:
                stream = Certificate(read_objects(data))
        with self.tree(before) as old, self.tree(now) as new, self.catalog.view(last) as view:
            ledger = {Identity(*key): names for key, names in self.catalog.ledger(last).items()}
            changes = Reconciler(
                old, new, excludes=self.excludes, ledger=ledger, old_txg=before.createtxg,
                old_created_ns=before.created * 10**9,
            ).run(rows, stream)  # fmt: skip
            self.detection = changes.detection
            counted = survey(new, self.excludes, _silent).files - survey(old, self.excludes, _silent).files
            self.growth = tally(changes, old, new).growth, counted

            def base_path(_identity: Identity, old_path: bytes | None) -> bytes | None:
                node = view.resolve(old_path) if old_path is not None else None
                return None if node is None or node.object is not None else node.base_path

            self._point(changes, old, new, base_path, view)

    def _point(self, changes: ChangeSet, old, new, base_path, view: PointView | None) -> None:
        sequence, snapshot = len(self.points), self.snapshots[-1]
        header = Header(
            repository="0" * 32, chain=self._key, first=sequence, sequence=sequence,
            point=secrets.token_hex(8),
            dataset=self.dataset, dataset_guid=1, host="test", snapshot=snapshot.name, guid=snapshot.guid,
            createtxg=snapshot.createtxg, created_ns=snapshot.created * 10**9,
            parent_guid=self.snapshots[-2].guid if sequence else None,
            restic=None if sequence else "0" * 64, base_ns=snapshot.created * 10**9,
            excludes=self.excludes.digest,
        )  # fmt: skip
        numbers = self.catalog.last_numbers(self.points[-1]) if sequence else (0, 0)
        manifest = self.home / f"{sequence}.manifest"
        packs: list[PackRecord] = []
        with ManifestWriter(manifest, header) as writer:
            packer = Packer(self.home, _PACK, packs.append)
            contents = ContentStore(
                old=old, new=new, view=view, packer=packer, pool=self._pool, settings=SETTINGS,
                last_number=numbers[1], emit=writer.add, progress=_silent,
            )  # fmt: skip
            builder = PointBuilder(
                writer, contents, old=old, new=new, view=view, base_path=base_path, last_number=numbers[0]
            )
            builder.add(changes)
            packer.flush()
            for pack in packs:
                writer.add(pack)
            writer.finish({})
        assert builder.stats.skipped == []
        self.catalog.apply(read_manifest(manifest))
        self.points.append(max(self.catalog.points(), key=lambda point: point.sequence))

    def differences(self, number: int) -> dict[bytes, str]:
        """Hold what point `number` says against its snapshot; return what is different, by path."""
        with (
            self.tree(self.snapshots[number]) as tree,
            self.tree(self.snapshots[0]) as base,
            self.catalog.view(self.points[number]) as view,
        ):
            reading = _Reading(view, self._fetch, _BasePart(base, self._not_in_base))
            said = {path: (node, entry) for path, node, entry in reading.walk()}
            found: dict[bytes, str] = {}
            real = {b"": tree.identity(b"")}
            for path, item in tree.walk():
                if not self.excludes.covers(path, directory=item.directory):
                    real[path] = tree.identity(path)
            found |= dict.fromkeys(real.keys() - said.keys(), "missing")
            found |= dict.fromkeys(said.keys() - real.keys(), "extra")
            groups: dict[Identity | None, set[object]] = {}
            for path in sorted(real.keys() & said.keys()):
                node, entry = said[path]
                groups.setdefault(real[path], set()).add(reading.identity(node))
                wanted = tree.entry(path)
                if entry != wanted:
                    found[path] = f"{entry} instead of {wanted}"
                elif entry.type is EntryType.FILE and reading.content(node, entry) != _bytes(tree, path):
                    found[path] = "other bytes"
            for path in real.keys() & said.keys():
                if len(groups[real[path]]) > 1:
                    found.setdefault(path, f"one object has become {groups[real[path]]}")
            objects = {key for group in groups.values() for key in group}
            if sum(map(len, groups.values())) > len(objects):
                found.setdefault(b"", "several objects have become one")
            return found

    def _fetch(self, blob: BlobRef) -> bytes:
        with (self.home / pack_name(blob.pack)).open("rb") as file:
            file.seek(blob.offset)
            return file.read(blob.length)


class _BasePart:
    """What restic would have of the base's snapshot: all but the paths `without`."""

    def __init__(self, tree: SnapshotTree, without: frozenset[bytes]) -> None:
        self.tree, self._without = tree, without

    def has(self, path: bytes) -> bool:
        cut = path.find(b"/")
        while cut >= 0:
            if path[:cut] in self._without:
                return False
            cut = path.find(b"/", cut + 1)
        return path not in self._without and self.tree.lstat(path) is not None

    def open(self, path: bytes) -> MemorySource:
        assert self.has(path)
        return MemorySource(_bytes(self.tree, path))


class _Reading:
    """A point's tree as the catalog and the base tell it."""

    def __init__(self, view: PointView, fetch: FetchBlob, base: _BasePart) -> None:
        self._view, self._base = view, base
        self._reader = ContentReader(view, fetch, base.open)

    def walk(self) -> Iterator[tuple[bytes, Node, Entry]]:
        stack = [(b"", self._view.root())]
        while stack:
            path, node = stack.pop()
            entry = self._entry(node)
            if entry is None:
                continue
            yield path, node, entry
            if entry.type is EntryType.DIRECTORY:
                stack += [(path + b"/" + name if path else name, child) for name, child in self._below(node)]

    def _below(self, node: Node) -> Iterator[tuple[bytes, Node]]:
        overlay = self._view.names(node)
        names = dict.fromkeys(overlay)
        if node.base_path is not None:
            names |= dict.fromkeys(item.name for item in self._base.tree.names(node.base_path))
        for name in names:
            child = overlay[name] if name in overlay else self._view.child(node, name)
            if child is not None:
                yield name, child

    def _entry(self, node: Node) -> Entry | None:
        if node.object is not None and (version := self._view.version(node.object)) is not None:
            return version.entry
        if node.base_path is None or not self._base.has(node.base_path):
            return None
        return self._base.tree.entry(node.base_path)

    def identity(self, node: Node) -> object:
        """Return what a restore joins names by: the overlay's object, or restic's if none is written."""
        if node.object is not None and self._view.version(node.object) is not None:
            return node.object
        assert node.base_path is not None, "a node without version is in the base"
        return self._base.tree.identity(node.base_path)

    def content(self, node: Node, entry: Entry) -> bytes:
        version = self._view.version(node.object) if node.object is not None else None
        number = IN_BASE if version is None else version.content
        if number is None:
            return b""
        source = self._reader.open(number, node.base_path)
        return source.read(0, entry.size) if source.size == entry.size else b"of another size"


def _silent(_done: int) -> None:
    pass


def _bytes(tree: SnapshotTree, path: bytes) -> bytes:
    info = tree.lstat(path)
    assert info is not None
    assert stat.S_ISREG(info.st_mode), os.fsdecode(path)
    with tree.opened(path) as fd:
        return FileSource(fd).read(0, info.st_size)
