"""Two hosts and one repository: a prune here costs an unfinished run there nothing but time."""

import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from history_world import destroy
from machine import Machine, sh, snapshot_directory

from oracle import differences
from zdiffsync.backup.commit import PointCommit
from zdiffsync.errors import RemoteError

pytestmark = pytest.mark.zfs

SLOW = {"pack_size": "256KiB", "bwlimit": "300K", "transfers": 1, "staging_space": "512KiB"}


class Hosts:
    """A host with one dataset, and another that has only the same repository."""

    def __init__(self, parent: str, home: Path) -> None:
        self.dataset = f"{parent}/{secrets.token_hex(3)}"
        sh("zfs", "create", self.dataset)
        self.root = Path(sh("zfs", "get", "-Ho", "value", "mountpoint", self.dataset).strip())
        self.home = home
        self.one, self.other = Machine(home), Machine(home)
        self.one.init(self.dataset, host="one")
        self.other.config = home / "other.toml"
        self.other.configure(host="other", state_dir=str(home / "other state"))

    def packs(self) -> set[str]:
        """The packs that are complete on the remote."""
        found = (self.one.remote / "data/packs").rglob("*")
        return {path.name for path in found if path.is_file() and not path.suffix}

    def break_off(self) -> set[str]:
        """Kill a slow run when it has uploaded some packs; return them."""
        self.one.configure(self.dataset, host="one", **SLOW)
        before = self.packs()
        program = Path(sys.executable).with_name("zdiffsync")
        with (self.home / "log").open("wb") as log:
            running = subprocess.Popen([program, "-c", self.one.config, "run"], stdout=log, stderr=log)
            end = time.monotonic() + 120
            while len(self.packs() - before) < 3:
                assert running.poll() is None, (self.home / "log").read_text()
                assert time.monotonic() < end
                time.sleep(0.05)
            running.kill()
            running.wait()
        self.one.configure(self.dataset, host="one")
        return self.packs() - before

    def check(self) -> None:
        """Hold the last point against its snapshot."""
        point = self.one.points(self.dataset)[-1]
        target = self.root.parent / f"restored-{point['point']}"
        self.one.restore(point["point"], target)
        assert differences(snapshot_directory(point["snapshot"]), str(target)) == []


@pytest.fixture
def hosts(pool: str, tmp_path: Path) -> Iterator[Hosts]:
    parent = f"{pool}/hosts-{secrets.token_hex(3)}"
    sh("zfs", "create", parent)
    yield Hosts(parent, tmp_path)
    destroy(parent)


@pytest.mark.parametrize("at_once", [False, True], ids=["condemned", "deleted"])
def test_packs_of_a_broken_off_run_that_another_host_prunes(hosts: Hosts, at_once: bool) -> None:
    hosts.one.run()
    for number in range(12):
        (hosts.root / f"new{number}").write_bytes(secrets.token_bytes(250_000))
    uploaded = hosts.break_off()
    hosts.other.cli("prune", *(["--now"] if at_once else []))
    assert (uploaded <= hosts.packs()) != at_once
    hosts.one.run()
    hosts.other.cli("prune", "--now")
    assert not uploaded & hosts.packs()
    hosts.check()


def test_a_base_of_a_broken_off_run_that_another_host_prunes(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    (hosts.root / "file").write_text("of the base")

    def break_off(_commit: PointCommit) -> None:
        monkeypatch.undo()
        raise RemoteError("the line is down")

    monkeypatch.setattr(PointCommit, "_refuse_condemned", break_off)
    hosts.one.run(expect=5)
    snapshots = hosts.one.remote / "restic/snapshots"
    assert len(list(snapshots.iterdir())) == 1
    hosts.other.cli("prune", "--now")
    assert list(snapshots.iterdir()) == []
    hosts.one.run()
    hosts.other.cli("prune", "--now")
    hosts.check()


def test_a_run_does_not_commit_what_is_condemned_meanwhile(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts.one.run()
    (hosts.root / "new").write_bytes(secrets.token_bytes(100_000))

    def prune_first(commit: PointCommit) -> None:
        monkeypatch.undo()
        hosts.other.cli("prune")
        commit._refuse_condemned()

    monkeypatch.setattr(PointCommit, "_refuse_condemned", prune_first)
    hosts.one.run(expect=5)
    hosts.one.run()
    hosts.other.cli("prune", "--now")
    hosts.check()
    hosts.one.cli("prune", "--now")
    hosts.check()
