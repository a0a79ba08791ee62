"""Restores beside living snapshots: local first, into new datasets, in place, and after a kill."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from history_world import destroy
from machine import Machine, sh, snapshot_directory

from oracle import differences

pytestmark = pytest.mark.zfs

MIB = 1 << 20
IMAGE = 24 * MIB
PROGRAM = "from zdiffsync.cli.main import main; main()"


class Restored:
    """A dataset with two points, the first of which only the remote still has. `moments` are its trees."""

    def __init__(self, parent: str, home: Path) -> None:
        self.parent = parent
        sh("zfs", "create", "-o", "acltype=posixacl", "-o", "xattr=sa", parent)
        sh("zfs", "create", f"{parent}/data")
        self.root = Path(sh("zfs", "get", "-Ho", "value", "mountpoint", parent).strip())
        self.data = self.root / "data"
        self.machine = Machine(home)
        self.machine.init(f"{parent}/data")
        rng = random.Random(5)
        self._fill(rng)
        self.points = [self._point(0)]
        with (self.data / "image").open("r+b") as file:
            for offset in (1 * MIB, 9 * MIB + 5, 20 * MIB):
                file.seek(offset)
                file.write(rng.randbytes(3000))
        (self.data / "many").rename(self.data / "lots")
        (self.data / "docs/letter").write_bytes(b"rewritten\n")
        self.points.append(self._point(1))

    def _fill(self, rng: random.Random) -> None:
        (self.data / "docs/deep").mkdir(parents=True)
        (self.data / "docs/letter").write_bytes(b"dear all\n")
        (self.data / "docs/deep/note").write_bytes(b"note\n")
        os.link(self.data / "docs/deep/note", self.data / "linked")
        (self.data / "many").mkdir()
        for number in range(100):
            (self.data / f"many/{number}").write_bytes(rng.randbytes(1000 * (number % 7)))
        (self.data / "image").write_bytes(rng.randbytes(IMAGE))
        os.chmod(self.data, 0o750)
        os.setxattr(self.data, "user.root", b"yes")
        sh("setfacl", "-m", "u:1234:rw", str(self.data / "docs/letter"))

    def _point(self, number: int) -> str:
        sh("zfs", "snapshot", f"{self.parent}/data@moment{number}")
        return str(self.machine.run()["points"][0]["point"])

    def moment(self, number: int) -> str:
        return snapshot_directory(f"{self.parent}/data@moment{number}", str(self.data))


@pytest.fixture(scope="module")
def made(pool: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restored]:
    made = Restored(f"{pool}/restored", tmp_path_factory.mktemp("restored"))
    yield made
    destroy(made.parent)


@pytest.fixture(autouse=True)
def cold(made: Restored) -> None:
    """Let nothing be there from the restores before."""
    shutil.rmtree(made.machine.home / "state/cache", ignore_errors=True)


def test_the_last_point_comes_from_its_snapshot(made: Restored) -> None:
    target = made.root / "local"
    plan = made.machine.cli("restore", "latest", "--to", str(target), "--plan")
    report = made.machine.cli("restore", "latest", "--to", str(target))
    assert differences(made.moment(1), str(target)) == []
    assert plan["local_bytes"] == plan["bytes"] == report["bytes"]
    assert plan["download_bytes"] <= 3 * 2 * 8 * MIB  # chunks of the base at the edges of three changes
    assert report["downloaded_bytes"] <= plan["download_bytes"] + MIB
    assert report["local_bytes"] >= report["bytes"] - plan["download_bytes"]
    assert report["local_refused"] == 0
    shutil.rmtree(target)


def test_an_older_point_takes_what_has_not_changed_from_the_last_snapshot(made: Restored) -> None:
    target = made.root / "older"
    report = made.machine.cli("restore", made.points[0], "--to", str(target))
    assert differences(made.moment(0), str(target)) == []
    small = report["bytes"] - IMAGE - len(b"dear all\n")
    assert report["local_bytes"] == small  # those of the renamed directory among them
    assert IMAGE <= report["downloaded_bytes"] < IMAGE + 4 * MIB
    shutil.rmtree(target)


def test_without_local_everything_is_downloaded(made: Restored) -> None:
    target = made.root / "remote"
    report = made.machine.restore(made.points[1], target)
    assert differences(made.moment(1), str(target)) == []
    assert report["local_bytes"] == 0
    assert report["downloaded_bytes"] > IMAGE
    shutil.rmtree(target)


def test_into_a_new_dataset_also_after_a_kill(made: Restored) -> None:
    new = f"{made.parent}/new"
    made.machine.configure(f"{made.parent}/data", bwlimit="16M")
    command = ["restore", made.points[0], "--to-dataset", new, "--no-local"]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "-c", str(made.machine.config), "--json", *command]
    ) as process:
        while not list((made.root / "new").glob(".zdiffsync-restore-*/new/*")):
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
    made.machine.configure(f"{made.parent}/data")
    other = made.machine.cli("restore", made.points[1], "--to-dataset", new, expect=2)
    assert "exists already" in other["error"]
    report = made.machine.cli(*command)
    assert report["resumed"]
    assert differences(made.moment(0), str(made.root / "new")) == []
    again = made.machine.cli(*command, expect=2)
    assert "exists already" in again["error"]
    sh("zfs", "destroy", new)


def test_paths_in_place(made: Restored) -> None:
    (made.data / "docs/letter").write_bytes(b"spoilt")
    shutil.rmtree(made.data / "docs/deep")
    (made.data / "lots/3").unlink()
    (made.data / "image").write_bytes(b"")
    (made.data / "mine").write_bytes(b"mine")
    paths = ["docs/letter", "docs/deep/note", "lots", "image"]
    first, *others = paths
    report = made.machine.cli("restore", f"latest:{first}", *others, "--in-place")
    assert report["failed"] == []
    assert report["local_bytes"] >= IMAGE // 2
    for path in paths:
        done = subprocess.run(
            ["diff", "-r", f"{made.moment(1)}/{path}", str(made.data / path)],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "")
    assert (made.data / "mine").read_bytes() == b"mine"
    assert not [name for name in os.listdir(made.data) if name.startswith(".zdiffsync")]


def test_what_the_remote_has_lost_the_snapshot_still_gives(made: Restored) -> None:
    packs = made.machine.remote / "data/packs"
    packs.rename(made.machine.home / "packs")
    try:
        target = made.root / "lost"
        report = made.machine.cli("restore", "latest:docs/letter", "--to", str(target))
        assert (target / "letter").read_bytes() == b"rewritten\n"
        assert report["failed"] == []
        cat = ("-c", str(made.machine.config), "cat", "latest:docs/letter")
        assert sh(sys.executable, "-c", PROGRAM, *cat) == "rewritten\n"
    finally:
        (made.machine.home / "packs").rename(packs)
