"""Hosts with one repository and one catalog on a PostgreSQL server, all at work at once."""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from history_world import destroy
from machine import Machine, sh, snapshot_directory

import postgresql_server
from oracle import differences

pytestmark = pytest.mark.zfs


class Host(Machine):
    """A host of its own name, state and dataset; the others' remote, password and catalog."""

    def __init__(self, home: Path, name: str, parent: str, url: str) -> None:
        super().__init__(home)
        self.name, self.dataset = name, f"{parent}/{name}"
        self.config = home / f"{name}.toml"
        sh("zfs", "create", self.dataset)
        self.root = Path(sh("zfs", "get", "-Ho", "value", "mountpoint", self.dataset).strip())
        self.configure(self.dataset, host=name, state_dir=str(home / name), catalog=url)

    def edit(self, night: int) -> None:
        """Change something: new files, and one that is there every night."""
        for number in range(20):
            (self.root / f"{night}-{number}").write_bytes(secrets.token_bytes(1000))
        (self.root / "log").write_text(f"{self.name}, night {night}\n" * 100)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command in a process of its own."""
        program = "from zdiffsync.cli.main import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", program, "-c", self.config, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip


def finish(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        said, _ = process.communicate(timeout=240)
        assert process.returncode == 0, (process.args, said)


@pytest.fixture
def hosts(pool: str, tmp_path: Path) -> Iterator[list[Host]]:
    parent = f"{pool}/shared-{secrets.token_hex(3)}"
    sh("zfs", "create", parent)
    with postgresql_server.running() as server:
        yield [Host(tmp_path, name, parent, server.url()) for name in ("one", "other", "third")]
    destroy(parent)


def test_hosts_at_work_at_once_share_what_they_know(hosts: list[Host], tmp_path: Path) -> None:
    one, other, third = hosts
    one.cli("init")
    for night in range(2):
        for host in (one, other):
            host.edit(night)
        finish(one.begin("run"), other.begin("run"))
    points = one.points()
    assert len(points) == 4
    assert other.points() == points

    # One that has never been here knows all of it, too, and needs the remote for contents only.
    last = one.points(one.dataset)[-1]
    other.edit(2)
    finish(
        other.begin("run"), one.begin("rebuild"), third.begin("history", f"{one.dataset}:log"),
        third.begin("restore", last["point"], "--to", str(tmp_path / "restored"), "--no-local"),
    )  # fmt: skip
    assert differences(snapshot_directory(last["snapshot"]), tmp_path / "restored") == []
    assert [len(third.points(host.dataset)) for host in (one, other)] == [2, 3]
    finish(one.begin("forget", "--keep-last", "1", "--dataset", one.dataset), third.begin("check"))
    assert [len(third.points(host.dataset)) for host in (one, other)] == [1, 3]
