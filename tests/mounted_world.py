"""A repository made through the real store and restic, its manifests written by hand.

What a run would find out by `zfs diff` the test says itself; everything else is real. Rule: `expected`
holds each point's tree as real files, made by ordinary tools.
"""

import hashlib
import json
import os
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from zdiffsync.backup.packer import CountingSink, Packer
from zdiffsync.catalog.catalog import Catalog
from zdiffsync.external.files import FileSource
from zdiffsync.external.restic import Restic
from zdiffsync.external.tree import SnapshotTree
from zdiffsync.format.delta_encode import encode_windows
from zdiffsync.format.delta_policy import DeltaPolicy
from zdiffsync.format.delta_pool import DeltaPool
from zdiffsync.format.manifest import (
    IN_BASE,
    ContentRecord,
    Header,
    ManifestWriter,
    NameRecord,
    ObjectRecord,
    VersionRecord,
    read_manifest,
)
from zdiffsync.format.zstd import compress
from zdiffsync.model.progress import silent
from zdiffsync.restore.contents import ContentReader
from zdiffsync.restore.packs import RangedPacks
from zdiffsync.store.names import ManifestName, new_pack_id
from zdiffsync.store.repository import create_repository, open_repository
from zdiffsync.store.secret import Secret

_PACK = 1 << 20
_FIRST = 1_764_000_000  # seconds; the first point's time


class World:
    """`tree` is the live dataset; `points` the keys of its points, `expected` what each holds."""

    policy = DeltaPolicy()

    def __init__(self, home):
        self.home, self.tree, self.expected = home, home / "tree", home / "expected"
        self.remote, self.state, self.config = home / "remote", home / "state", home / "config.toml"
        self.tree.mkdir(parents=True)
        self.chain, self.dataset = new_pack_id()[:16], "tank/data"
        self.points = []
        self._numbers = {}
        self._in_base = {}
        self._contents = {}
        self._last_content = 0
        self._restic_id = ""
        password = home / "password"
        password.write_bytes(b"correct horse")
        password.chmod(0o600)
        self.secret = Secret(b"correct horse")
        with create_repository(str(self.remote), self.secret) as repository:
            self._restic(repository.store).init()
        self._configure()

    def _configure(self):
        keys = {"remote": str(self.remote), "password_file": str(self.home / "password"),
                "state_dir": str(self.state), "host": "host"}  # fmt: skip
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in keys.items()]
        self.config.write_text("".join([*lines, '[[dataset]]\nname = "tank/data"\n']))

    def copy(self, home):
        """Return a world with the same points and a remote of its own; `expected` is shared."""
        home.mkdir()
        other = object.__new__(World)
        other.__dict__ |= self.__dict__
        other.points, other._numbers = [*self.points], {**self._numbers}
        other._in_base, other._contents = {**self._in_base}, {**self._contents}
        other.home, other.remote, other.state = home, home / "remote", home / "state"
        other.config, other.tree = home / "config.toml", home / "tree"
        shutil.copytree(self.remote, other.remote)
        shutil.copy2(self.home / "password", home / "password")
        subprocess.run(["cp", "-a", self.tree, other.tree], check=True)
        other._configure()
        return other

    def _restic(self, store):
        return Restic(
            f"rclone:{store.plain.remote_name}restic", self.home / "password", self.home / "restic-cache",
            environment=store.environment,
        )  # fmt: skip

    def base(self):
        """Make the base out of the tree."""
        descriptor = os.open(self.tree, os.O_RDONLY)
        with open_repository(str(self.remote), self.secret) as repository:
            summary = self._restic(repository.store).backup(
                descriptor, parent=None, tags=("zdiffsync",), host="host", time=datetime.now(UTC),
                exclude_file=None, progress=silent("base"), stall=60,
            )  # fmt: skip
            os.close(descriptor)
            self._restic_id = summary.snapshot_id
            with SnapshotTree(os.fsencode(self.tree)) as tree:
                self._in_base = {path: tree.lstat(path).st_ino for path, _ in tree.walk()}
                root = tree.entry(b"")
                number = self._number(b"", self.tree.stat().st_ino, b"", records := [])
            self._commit(repository, [*records, VersionRecord(number, root, None)])

    def increment(self, changed=(), deltas=(), removed=(), renamed=None):
        """Make the next point: what the tree now has at these paths, new or changed, removed or renamed."""
        renamed = {os.fsencode(old): os.fsencode(new) for old, new in (renamed or {}).items()}
        records, parents = [], set()
        with open_repository(str(self.remote), self.secret) as repository:
            stage, packs = self.home / "stage", []
            packer = Packer(stage, _PACK, packs.append)
            with SnapshotTree(os.fsencode(self.tree)) as tree, DeltaPool(1) as pool:
                for path in map(os.fsencode, [*changed, *deltas]):
                    entry, new = tree.entry(path), path not in self._in_base and path not in self._numbers
                    number = self._object(tree, path, records)
                    content = None
                    if entry.type.value == "f" and entry.size:
                        delta = path in set(map(os.fsencode, deltas))
                        content = self._content(
                            repository, tree, path, packer, pool if delta else None, records
                        )
                    records.append(VersionRecord(number, entry, content))
                    if new:
                        parents.add(path.rpartition(b"/")[0])
                        records.append(self._name(tree, path, number, records))
                for path in map(os.fsencode, removed):
                    parents.add(path.rpartition(b"/")[0])
                    records.append(self._name(tree, path, None, records))
                for old, new in renamed.items():
                    number = self._number(new, tree.lstat(new).st_ino, old, records)
                    parents |= {old.rpartition(b"/")[0], new.rpartition(b"/")[0]}
                    records += [
                        self._name(tree, old, None, records), self._name(tree, new, number, records),
                        VersionRecord(number, tree.entry(new), None),
                    ]  # fmt: skip
                for path in parents:
                    number = self._object(tree, path, records)
                    records.append(VersionRecord(number, tree.entry(path), None))
            packer.flush()
            names = [str(path.relative_to(stage)) for path in stage.rglob("*") if path.is_file()]
            repository.store.data.upload(stage, names, lambda _sent: None)
            shutil.rmtree(stage, ignore_errors=True)
            order = {ObjectRecord: 0, ContentRecord: 1}
            records.sort(key=lambda record: order.get(type(record), 2))
            self._commit(repository, [*packs, *records])

    def _name(self, tree, path, child, records):
        parent, _, name = path.rpartition(b"/")
        return NameRecord(self._object(tree, parent, records), name, child)

    def _object(self, tree, path, records):
        base = path if path in self._in_base else None
        return self._number(path, tree.lstat(path).st_ino, base, records)

    def _number(self, path, inode, base, records):
        if path not in self._numbers:
            self._numbers[path] = len(self._numbers) + 1
            inode = self._in_base.get(base, inode) if base else inode
            records.append(ObjectRecord(self._numbers[path], inode, 1, base))
        return self._numbers[path]

    def _content(self, repository, tree, path, packer, pool, records):
        self._last_content += 1
        number = self._last_content
        with tree.opened(path) as descriptor:
            new = FileSource(descriptor)
            if pool is None:
                data = new.read(0, new.size)
                blob = packer.put(compress(data))
                digest = _digest(data)
                record = ContentRecord(
                    number, new.size, digest, windowed=False, blob=blob, packs={blob.pack: blob.length}
                )
            else:
                record = self._delta(repository, path, number, new, packer, pool)
        records.append(record)
        self._contents[path] = record
        return number

    def _delta(self, repository, path, number, new, packer, pool):
        last = self._contents.get(path)
        source, depth = (IN_BASE, 1) if last is None else (last.number, last.depth + 1)
        with (
            self.catalog() as catalog,
            (self.expected / self.points[0] / os.fsdecode(path)).open("rb") as file,
        ):
            with catalog.view(catalog.points()[-1]) as view:
                reader = ContentReader(
                    view, RangedPacks(repository.store.data).fetch, lambda _path: FileSource(file.fileno())
                )
                old = reader.open(source, path)
            sink = CountingSink(packer)
            encoded = encode_windows(
                new, old, sink, extents=None, data_ranges=None, pool=pool, policy=self.policy,
                progress=lambda _done: None,
            )  # fmt: skip
        blob = sink.put(encoded.table)
        return ContentRecord(
            number, new.size, _digest(encoded.table), windowed=True, blob=blob, packs=sink.packs,
            source=source, source_path=path if source == IN_BASE else None, depth=depth,
        )  # fmt: skip

    def catalog(self):
        return Catalog(self.state / "catalog.sqlite")

    def _commit(self, repository, records):
        sequence = len(self.points)
        key = f"{sequence:x}{new_pack_id()[:15]}"
        now = _FIRST + 3600 * sequence
        header = Header(
            repository=repository.identifier, chain=self.chain, first=sequence, sequence=sequence, point=key,
            dataset=self.dataset, dataset_guid=1, host="host", snapshot=f"{self.dataset}@s{sequence}",
            guid=100 + sequence, createtxg=now, created_ns=now * 10**9,
            parent_guid=99 + sequence if sequence else None, restic=None if sequence else self._restic_id,
            base_ns=None if sequence else now * 10**9, excludes="0" * 16,
        )  # fmt: skip
        stage = self.home / "stage"
        name = str(ManifestName(self.chain, sequence, sequence))
        path = stage / name
        path.parent.mkdir(parents=True)
        with ManifestWriter(path, header) as writer:
            for record in records:
                writer.add(record)
            writer.finish({"uploaded": 0})
        repository.store.data.upload(stage, [name], lambda _sent: None)
        with self.catalog() as catalog:
            catalog.apply(read_manifest(path))
        shutil.rmtree(stage)
        self.expected.mkdir(exist_ok=True)
        subprocess.run(["cp", "-a", self.tree, self.expected / key], check=True)
        self.points.append(key)

    def directory(self, sequence):
        """The name of a point's directory in the mount."""
        return time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(_FIRST + 3600 * sequence))


def expected_path(world, sequence):
    return Path(world.expected, world.points[sequence])


def _digest(data):
    return hashlib.sha256(data).hexdigest()
