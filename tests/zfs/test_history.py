"""Random histories all the way round: real runs to a real remote, points forgotten, space freed, the
catalog made again; every point that is left restored and compared.

The slow brother of test_reconcile.py. The suite plays the same histories every time;
ZDIFFSYNC_EXAMPLES=… plays so many new ones.
"""

import contextlib
import os
import random
import secrets
import shutil
import tempfile
from pathlib import Path

import pytest
from history_operations import GROWING, OPERATIONS, play
from history_world import World, destroy
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from machine import Machine, sh, snapshot_directory

from mounts import Mount
from oracle import differences, states

pytestmark = pytest.mark.zfs

EXAMPLES = int(os.environ.get("ZDIFFSYNC_EXAMPLES", "1"))
MOST_POINTS = 5
MOST_BASES = 2
CHANGES = st.tuples(st.integers(40, 80), st.integers(0, 2**32 - 1))


class History(RuleBasedStateMachine):
    """One dataset, perhaps with children, and the points made of it in a repository shared by all."""

    machine: Machine
    parent: str

    def __init__(self) -> None:
        super().__init__()
        self.dataset = f"{self.parent}/{secrets.token_hex(4)}"
        sh("zfs", "create", self.dataset)
        self.world = World(os.fsencode(self.mountpoint(self.dataset)), self.dataset)
        self.points: list[tuple[dict[str, str], str]] = []
        self.moments = 0
        self.bases = 0
        self.machine.configure(self.dataset, recursive=True)

    @staticmethod
    def mountpoint(dataset: str) -> str:
        return sh("zfs", "get", "-Ho", "value", "mountpoint", dataset).strip()

    @initialize(changes=CHANGES)
    def begin(self, changes: tuple[int, int]) -> None:
        self.play(tuple(GROWING), changes)
        self.make_point()

    @rule(changes=CHANGES)
    def change(self, changes: tuple[int, int]) -> None:
        self.play(tuple(OPERATIONS), changes)

    @precondition(lambda self: len(self.world.children) < 2)
    @rule()
    def mount_child(self) -> None:
        name = f"{self.dataset}/child{len(self.world.children)}"
        sh("zfs", "create", name)
        self.world.children.append(name)
        shutil.copytree(b"/etc/default", os.fsencode(self.mountpoint(name)) + b"/files", symlinks=True)

    @precondition(lambda self: self.moments < MOST_POINTS)
    @rule(changes=CHANGES)
    def run(self, changes: tuple[int, int]) -> None:
        self.play(tuple(OPERATIONS), changes)
        self.make_point()

    @precondition(lambda self: self.bases < MOST_BASES and self.moments < MOST_POINTS)
    @rule()
    def run_base(self) -> None:
        self.bases += 1
        self.make_point("--base")

    @precondition(lambda self: self.forgettable())
    @rule(seed=st.integers(0, 2**32 - 1), now=st.booleans())
    def forget(self, seed: int, now: bool) -> None:
        points = self.forgettable()
        gone = random.Random(seed).sample(points, min(2, len(points)))
        self.machine.cli("forget", *(point["point"] for point, _ in gone))
        self.points = [each for each in self.points if each not in gone]
        self.machine.cli("prune", "--max-unused", "0", *(["--now"] if now else []))

    def forgettable(self) -> list[tuple[dict[str, str], str]]:
        newest = {point["dataset"]: point["point"] for point, _ in self.points}
        return [each for each in self.points if each[0]["point"] not in newest.values()]

    @precondition(lambda self: self.moments > 2)
    @rule()
    def rebuild(self) -> None:
        self.machine.cli("rebuild")

    def play(self, names: tuple[str, ...], changes: tuple[int, int]) -> None:
        count, seed = changes
        rng = random.Random(seed)
        for _ in range(count):
            play(self.world, rng.choice(names), rng.getrandbits(32))

    def make_point(self, *arguments: str) -> None:
        for mapped in self.world.maps:
            mapped.flush()  # or the kernel may do it between our snapshot and the one of the run
        sh("zfs", "snapshot", "-r", f"{self.dataset}@moment{self.moments}")
        for point in self.machine.run(*arguments)["points"]:
            assert point["skipped"] == []
            assert point["certified"] == (point["kind"] == "increment")
            self.points.append((point, f"{point['dataset']}@moment{self.moments}"))
        self.moments += 1

    def teardown(self) -> None:
        self.world.close()
        try:
            for point, snapshot in self.points:
                self.compare(point["point"], snapshot)
            self.compare_mounted()
        finally:
            destroy(self.dataset)

    def compare_mounted(self) -> None:
        snapshots: dict[str, list[str]] = {}
        for point, snapshot in self.points:
            snapshots.setdefault(point["dataset"], []).append(snapshot)
        with tempfile.TemporaryDirectory() as place:
            mount = Mount(self.machine.config, Path(place), "--no-local")
            try:
                for dataset, each in snapshots.items():
                    for path, snapshot in zip(mount.points(dataset), each, strict=True):
                        assert states(str(path)) == states(snapshot_directory(snapshot)), snapshot
            finally:
                mount.close()

    def compare(self, point: str, snapshot: str) -> None:
        target = Path(self.mountpoint(f"{self.parent}/restored"), point)
        self.machine.restore(point, target)
        found = differences(snapshot_directory(snapshot), str(target))
        shutil.rmtree(target)
        assert not found, f"{snapshot}:\n" + "\n".join(found[:20])


def test_every_point_of_a_random_history_comes_back(pool: str, tmp_path: Path) -> None:
    History.parent = f"{pool}/history-{secrets.token_hex(3)}"
    sh("zfs", "create", "-o", "acltype=posixacl", "-o", "xattr=sa", History.parent)
    sh("zfs", "create", f"{History.parent}/restored")
    History.machine = Machine(tmp_path)
    History.machine.init()
    try:
        run_state_machine_as_test(
            History,
            settings=settings(
                max_examples=EXAMPLES, derandomize="ZDIFFSYNC_EXAMPLES" not in os.environ,
                stateful_step_count=10, deadline=None, database=None, print_blob=True,
                phases=(Phase.generate,), suppress_health_check=list(HealthCheck),
            ),
        )  # fmt: skip
    finally:
        with contextlib.suppress(AssertionError):  # what a failed history left is the better message
            destroy(History.parent)
