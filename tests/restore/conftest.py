"""A real repository to restore from: a base by restic and increments above it, with every kind of entry."""

import os
import random
import subprocess
from contextlib import contextmanager

import pytest
from overlay_target import OverlayTarget

from mounted_world import World
from setup_cache import path_with_tools
from zdiffsync.bases.bases import Bases
from zdiffsync.catalog.catalog import Catalog
from zdiffsync.model.progress import silent
from zdiffsync.restore.local import LocalSnapshots
from zdiffsync.restore.overwrite import Overwrite
from zdiffsync.restore.packs import RangedPacks
from zdiffsync.restore.plan import Item, Request
from zdiffsync.restore.restore import Restorer
from zdiffsync.store.object_cache import ObjectCache
from zdiffsync.store.remote import LazyRepository
from zdiffsync.store.repository import open_repository

MIB = 1 << 20


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A base and three increments; what each point holds lies in `world.expected`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path_with_tools())
        yield _world(tmp_path_factory.mktemp("restored"))


def _world(home):
    rng = random.Random(11)
    world = World(home)
    root = world.tree
    (root / "docs/deep/er").mkdir(parents=True)
    (root / "docs/letter").write_bytes(b"dear all\n" * 100)
    (root / "docs/empty").touch()
    (root / "docs/deep/er/note").write_bytes(b"note\n")
    (root / "docs/deep/kept").write_bytes(b"kept\n")
    os.link(root / "docs/letter", root / "letter too")
    (root / "link").symlink_to("docs/letter")
    os.mkfifo(root / "fifo")
    with open(os.fsencode(root) + b"/inv\xff\nname", "wb") as file:
        file.write(b"odd")
    (root / "many").mkdir()
    for number in range(200):
        (root / f"many/{number:03}").write_bytes(b"%d\n" % number)
    with (root / "sparse").open("wb") as file:
        file.truncate(40 * MIB)
        file.seek(20 * MIB)
        file.write(rng.randbytes(2 << 16))  # whole blocks of the oracle
    (root / "image").write_bytes(rng.randbytes(12 * MIB))
    os.setxattr(root / "docs", "user.colour", b"\x00\xffgreen")
    subprocess.run(["setfacl", "-m", "u:1234:rw,m:rw", root / "docs/letter"], check=True)
    os.chown(root / "docs/letter", 1000, 1001)
    os.utime(root / "docs/deep", ns=(5, 123_456_789))
    world.base()
    _patch(root / "image", 3 * MIB, rng.randbytes(5000))
    (root / "docs/deep/er/note").write_bytes(b"note, changed\n")
    (root / "docs/new").write_bytes(b"new")
    (root / "link").unlink()
    world.increment(changed=["docs/deep/er/note", "docs/new"], deltas=["image"], removed=["link"])
    _patch(root / "image", 9 * MIB, b"patched again")
    for number in range(8):
        (root / f"many/large {number}").write_bytes(rng.randbytes(900_000))
    world.increment(changed=[f"many/large {number}" for number in range(8)], deltas=["image"])
    (root / "docs/deep").rename(root / "docs/shallow")
    world.increment(renamed={"docs/deep": "docs/shallow"})
    return world


def _patch(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


class Restores:
    """Restores from one world with caches of its own; `directories` are the local snapshots by guid."""

    def __init__(self, world, home):
        self.world, self.home = world, home
        self.directories = {}
        self.wrap = lambda area: area

    @contextmanager
    def opened(self, *, local=True):
        with (
            Catalog(self.world.state / "catalog.sqlite") as catalog,
            LazyRepository(lambda: open_repository(str(self.world.remote), self.world.secret)) as remote,
            LocalSnapshots(catalog, keep_open=True, directories=lambda _name: self.directories) as snapshots,
        ):
            cache = ObjectCache(self.home / "objects", 1 << 30)
            yield Restorer(
                catalog, Bases(remote.plain, self.world.secret, self.home / "bases", cache),
                self.wrap(remote.data), RangedPacks(cache.over(remote.data, "data")).fetch,
                lambda: self.world._restic(remote.opened.store),
                snapshots if local else None, lambda: remote.received, silent, 3,
            )  # fmt: skip

    def request(self, sequence, target, *paths, items=None, overwrite=Overwrite.NEVER):
        """Ask for PATHs below `target`, or for the whole point to fill it."""
        with Catalog(self.world.state / "catalog.sqlite") as catalog:
            point = next(p for p in catalog.points() if p.key == self.world.points[sequence])
        if items is None:
            items = [Item(path, b"", path.rpartition(b"/")[2]) for path in paths] or [Item(b"", b"", None)]
        return Request(point, target, tuple(items), overwrite)

    def restore(self, *args, local=True, **options):
        """Plan and restore; return both."""
        with self.opened(local=local) as restorer:
            plan = restorer.plan(self.request(*args, **options))
            return plan, restorer.restore(plan)

    def snapshot(self, sequence, place=None):
        """Have a local snapshot of a point: its expected tree, or what stands at `place`."""
        expected = self.world.expected / self.world.points[sequence]
        self.directories[100 + sequence] = os.fsencode(place or expected)


@pytest.fixture
def restores(world, tmp_path):
    """Restores from the common repository."""
    return Restores(world, tmp_path / "cache")


@pytest.fixture
def restore(tmp_path):
    """A target for trees of overlay objects."""
    return OverlayTarget(tmp_path)
