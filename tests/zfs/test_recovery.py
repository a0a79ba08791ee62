"""Random histories on real ZFS; each point, but one forgotten, comes back by recover.py alone.

The suite plays the same histories every time; ZDIFFSYNC_EXAMPLES=… plays so many new ones.
"""

import os
import random
import secrets
import shutil
from pathlib import Path

import pytest
from history_operations import GROWING, OPERATIONS, play
from history_world import World, destroy
from machine import Machine, sh, snapshot_directory

from clean_machine import CleanMachine
from oracle import differences

pytestmark = pytest.mark.zfs

EXAMPLES = os.environ.get("ZDIFFSYNC_EXAMPLES")
SEEDS = [secrets.randbits(32) for _ in range(int(EXAMPLES))] if EXAMPLES else [1]
CHANGES = 150


def mountpoint(dataset: str) -> Path:
    return Path(sh("zfs", "get", "-Ho", "value", "mountpoint", dataset).strip())


def change(world: World, rng: random.Random, names: tuple[str, ...]) -> None:
    for _ in range(CHANGES):
        play(world, rng.choice(names), rng.getrandbits(32))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_point_comes_back_without_zdiffsync(pool: str, tmp_path: Path, seed: int) -> None:
    parent = f"{pool}/recovery-{secrets.token_hex(3)}"
    sh("zfs", "create", "-o", "acltype=posixacl", "-o", "xattr=sa", parent)
    sh("zfs", "create", f"{parent}/data")
    sh("zfs", "create", f"{parent}/restored")
    machine = Machine(tmp_path)
    machine.init(f"{parent}/data", large_file="32KiB")
    clean = CleanMachine(tmp_path / "clean", machine.remote, tmp_path / "password")
    world = World(os.fsencode(mountpoint(f"{parent}/data")), f"{parent}/data")
    rng = random.Random(seed)
    try:
        points = []
        for number, arguments in enumerate([(), (), (), ("--base",), ()]):
            change(world, rng, tuple(OPERATIONS) if number else GROWING)
            for mapped in world.maps:
                mapped.flush()  # or the kernel may do it between our snapshot and the one of the run
            sh("zfs", "snapshot", f"{parent}/data@moment{number}")
            points += machine.run(*arguments)["points"]
        # The manifest of a forgotten point goes into that of the next one.
        machine.cli("forget", points[1]["point"])
        for number, point in enumerate(points):
            if number == 1:
                continue
            target = mountpoint(f"{parent}/restored") / str(number)
            code, err = clean.restore(point["point"], target)
            assert code == 0, f"point {number}: {err}"
            found = differences(snapshot_directory(f"{parent}/data@moment{number}"), target)
            assert not found, f"point {number}:\n" + "\n".join(found[:20])
            shutil.rmtree(target)
    finally:
        world.close()
        destroy(parent)
