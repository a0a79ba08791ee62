"""Random histories on real ZFS, held against what the points say: detection, packing, catalog.

Most changes a minute, hence most bugs. No remote is needed; test_history.py goes all the way round.
The suite plays the same seeds every time; ZDIFFSYNC_EXAMPLES=… plays so many new ones. A failure names
its seed: ZDIFFSYNC_SEED=… plays it again.
"""

import os
import random
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from history_chain import FEEDS, ROWS, STREAM, LocalChain
from history_operations import GROWING, OPERATIONS, play
from history_world import World
from machine import sh

from zdiffsync.backup.excludes import Excludes
from zdiffsync.format.delta_pool import DeltaPool

pytestmark = pytest.mark.zfs

EXPLORE = "ZDIFFSYNC_EXAMPLES" in os.environ
SEED = int(os.environ.get("ZDIFFSYNC_SEED", "0")) or (secrets.randbits(40) if EXPLORE else 975499307884)
EXAMPLES = int(os.environ.get("ZDIFFSYNC_EXAMPLES", "1"))
# The first lost the names of a hard-linked file in a directory that was taken for deleted until it turned up.
SEEDS = [*([] if EXPLORE else [1089999236885]), *(SEED + number for number in range(EXAMPLES))]
ROUNDS = 4
CHANGES = 80
EXCLUDES = (("a/b", "/c/**/d", "*.tmp", "x*/a"), ("b", "!a/b"))
ALL = tuple(OPERATIONS)


@pytest.fixture(scope="module")
def deltas() -> Iterator[DeltaPool]:
    with DeltaPool(1) as pool:
        yield pool


class History:
    """A fresh dataset, its live tree, and the chain of points made of it."""

    def __init__(self, pool: str, deltas: DeltaPool, home: Path, excludes: Excludes) -> None:
        self.dataset = f"{pool}/{secrets.token_hex(4)}"
        sh("zfs", "create", "-o", "acltype=posixacl", "-o", "xattr=sa", self.dataset)
        root = sh("zfs", "get", "-Ho", "value", "mountpoint", self.dataset).strip()
        self.world = World(os.fsencode(root), self.dataset)
        self.chain = LocalChain(home, self.dataset, deltas, excludes)
        self.excused: set[int] = set()

    def close(self) -> None:
        self.world.close()
        self.chain.close()
        sh("zfs", "destroy", "-R", "-f", self.dataset)

    def change(self, rng: random.Random, names: tuple[str, ...], count: int) -> None:
        for _ in range(count):
            play(self.world, rng.choice(names), rng.getrandbits(32))

    def point(self, *, feed: str, certified: bool) -> None:
        """Make the next point; note whose changes nobody can see without the send stream."""
        if not self.chain.points:
            self.chain.base()
            return
        self.chain.increment(feed=feed, certified=certified)
        if not certified:
            self.excused |= self.world.mapped | (self.world.stale if feed == ROWS else set())

    def differences(self, number: int) -> dict[bytes, str]:
        with self.chain.tree(self.chain.snapshots[number]) as tree:
            return {
                path: what
                for path, what in self.chain.differences(number).items()
                if (info := tree.lstat(path)) is None or info.st_ino not in self.excused
            }


@pytest.mark.parametrize("seed", SEEDS, ids="seed{}".format)
@pytest.mark.parametrize("excluding", [False, True])
def test_reconcile_random(pool: str, deltas: DeltaPool, tmp_path: Path, seed: int, *, excluding: bool):
    rng = random.Random(seed)
    excludes = Excludes(rng.choice(EXCLUDES) if excluding else ())
    history = History(pool, deltas, tmp_path, excludes)
    try:
        history.change(rng, GROWING, CHANGES)
        for number in range(ROUNDS):
            feed = rng.choice(FEEDS)
            certified = feed == STREAM or rng.random() < 0.7
            history.change(rng, ALL, CHANGES)
            history.point(feed=feed, certified=certified)
            found = history.differences(number)
            wrong = "\n".join(f"{path!r}: {what}" for path, what in sorted(found.items())[:20])
            assert not found, f"seed {seed}, point {number}, {feed=}, {certified=}:\n{wrong}"
            if not history.excused:
                tallied, counted = history.chain.growth
                assert tallied == counted, f"seed {seed}, point {number}, {feed=}, {certified=}"
        for number in range(ROUNDS):  # a later point must not have changed an earlier one
            found = history.differences(number)
            assert not found, f"seed {seed}, point {number} later:\n{found}"
    finally:
        history.close()
