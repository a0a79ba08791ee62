"""A repository to damage: a base and four increments, and check on it as the command line sets it up.

Rule: `damage` changes what lies on the remote as a failing disk or a careless hand would.
"""

import json
import os
import random
import shutil
from contextlib import contextmanager

from mounted_world import World
from oracle import differences
from zdiffsync.backup.excludes import Excludes
from zdiffsync.backup.session import BackupSettings, Session
from zdiffsync.bases.bases import Bases
from zdiffsync.catalog.catalog import Catalog
from zdiffsync.cli.main import invoke
from zdiffsync.format.manifest import PackRecord, read_manifest
from zdiffsync.maintain.check import Check, Tools, Wishes
from zdiffsync.maintain.memory import CheckMemory
from zdiffsync.maintain.repair import Repair
from zdiffsync.model.progress import silent
from zdiffsync.restore.packs import RangedPacks
from zdiffsync.store.names import ManifestName
from zdiffsync.store.object_cache import ObjectCache
from zdiffsync.store.repository import open_repository

MIB = 1 << 20


def build(home):
    """Point 1 changes the image, 2 the image again, 3 removes one file and renames another's directory."""
    rng = random.Random(3)
    world = World(home)
    root = world.tree
    (root / "docs/deep").mkdir(parents=True)
    (root / "docs/letter").write_bytes(b"dear all\n" * 100)
    (root / "docs/deep/kept").write_bytes(b"kept\n")
    (root / "many").mkdir()
    for number in range(60):
        (root / f"many/{number:02}").write_bytes(rng.randbytes(100 * number))
    (root / "image").write_bytes(rng.randbytes(5 * MIB))
    world.base()
    _patch(root / "image", MIB, rng.randbytes(5000))
    (root / "docs/letter").write_bytes(b"dear nobody\n")
    (root / "docs/new").write_bytes(rng.randbytes(3000))
    world.increment(changed=["docs/letter", "docs/new"], deltas=["image"])
    _patch(root / "image", 3 * MIB, rng.randbytes(7000))
    (root / "many/added").write_bytes(rng.randbytes(30_000))
    world.increment(changed=["many/added"], deltas=["image"])
    (root / "docs/new").unlink()
    (root / "docs/deep").rename(root / "docs/shallow")
    world.increment(removed=["docs/new"], renamed={"docs/deep": "docs/shallow"})
    (root / "docs/letter").write_bytes(b"dear you\n")
    world.increment(changed=["docs/letter"])
    return world


def _patch(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


class Checked:
    """One world to damage and check; `snapshots` are the local ones: directories by guid."""

    def __init__(self, world):
        self.world, self.snapshots = world, {}
        self.told = []

    @contextmanager
    def checking(self, **wishes):
        world = self.world
        scratch = world.home / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        with (
            open_repository(str(world.remote), world.secret) as repository,
            Catalog(world.state / "catalog.sqlite") as catalog,
        ):
            cache = ObjectCache(scratch / "objects", 64 * MIB)
            store = repository.store
            tools = Tools(
                repository, catalog, world._restic(store),
                Bases(store.plain, world.secret, scratch / "bases", cache),
                RangedPacks(cache.over(store.data, "data")).fetch,
                lambda _dataset: self.snapshots, lambda _dataset: Excludes(), world.state, scratch, 2, silent,
            )  # fmt: skip
            yield Check(tools, Wishes(**wishes), self.told.append)

    def check(self, **wishes):
        """Check, and return the report."""
        with self.checking(**wishes) as check:
            return check.run()

    def repair(self, *, dry_run=False, read_data=False, host="host", **settings):
        """Repair, and return the report."""
        world = self.world
        with (
            open_repository(str(world.remote), world.secret) as repository,
            Catalog(world.state / "catalog.sqlite") as catalog,
        ):
            session = Session(
                repository.identifier, host, repository.store, catalog, world._restic(repository.store),
                BackupSettings(world.home / "staging", world.state, **settings), silent,
            )  # fmt: skip
            memory = CheckMemory(world.state, repository.identifier)
            repair = Repair(session, memory, lambda _dataset: self.snapshots, transfers=2, dry_run=dry_run)
            return repair.run(read_data=read_data)

    def restores(self, sequence, *, without=()):
        """Restore a point from the remote alone and hold it against what it was, but for some paths."""
        target = self.world.home / f"restored-{sequence}"
        shutil.rmtree(target, ignore_errors=True)
        shutil.rmtree(self.world.state / "cache", ignore_errors=True)
        point = self.world.points[sequence]
        code = invoke(
            ["-c", str(self.world.config), "-q", "restore", point, "--no-local", "--to", str(target)]
        )
        assert code == (90 if without else 0)
        found = differences(self.world.expected / point, target)
        return [line for line in found if not any(path in line for path in without)]

    def cli(self, *arguments, expect, capsys):
        """Run the command with --json and return its object."""
        capsys.readouterr()
        code = invoke(["-c", str(self.world.config), "--json", "check", *arguments])
        out = capsys.readouterr().out
        assert code == expect, out
        return json.loads(out)

    def snapshot(self, sequence):
        """Have the local snapshot of a point."""
        self.snapshots[100 + sequence] = os.fsencode(self.world.expected / self.world.points[sequence])

    def packs_of(self, sequence):
        """The files on the remote of the packs a point uploaded."""
        path = self.world.home / "manifest"
        with open_repository(str(self.world.remote), self.world.secret) as repository:
            name = str(ManifestName(self.world.chain, sequence, sequence))
            repository.store.data.download(name, path, lambda _done: None)
        return [self.pack_file(each.pack) for each in read_manifest(path) if isinstance(each, PackRecord)]

    def pack_file(self, pack):
        return self.world.remote / "data/packs" / pack[:2] / pack

    def manifest_file(self, sequence):
        return self.world.remote / "data" / str(ManifestName(self.world.chain, sequence, sequence))
