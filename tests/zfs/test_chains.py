"""Chains of points: what begins a new one, what a run survives, and what it leaves alone.

One repository serves all tests; each has datasets of its own, named after it.
"""

import json
import os
import secrets
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from history_world import destroy
from machine import Machine, release, sh, snapshot_directory

from oracle import differences
from zdiffsync.external import zfs_diff

pytestmark = pytest.mark.zfs


class Chains:
    """A machine and the datasets of one test at a time."""

    def __init__(self, pool: str, home: Path) -> None:
        self.parent = f"{pool}/chains-{secrets.token_hex(3)}"
        sh("zfs", "create", "-o", "acltype=posixacl", "-o", "xattr=sa", self.parent)
        self.root = Path(sh("zfs", "get", "-Ho", "value", "mountpoint", self.parent).strip())
        self.machine = Machine(home)
        self.machine.init()

    def create(self, name: str, *options: str) -> tuple[str, Path]:
        """Make a dataset with one file; return its name and where it is mounted."""
        dataset = f"{self.parent}/{name}"
        sh("zfs", "create", *options, dataset)
        (self.root / name / "file").write_text(name)
        return dataset, self.root / name

    def run(self, **how: Any) -> dict[str, Any]:
        """Run; return the report of the only dataset's last point."""
        return self.machine.run(**how)["points"][-1]

    def check(self, report: dict[str, Any]) -> None:
        """Restore a point that still has its own snapshot and hold it against it."""
        target = self.root / f"restored-{report['point']}"
        self.machine.restore(report["point"], target)
        assert differences(snapshot_directory(report["snapshot"]), str(target)) == []


@pytest.fixture(scope="module")
def chains(pool: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chains]:
    made = Chains(pool, tmp_path_factory.mktemp("chains"))
    yield made
    destroy(made.parent)


def _snapshots(dataset: str) -> list[str]:
    return sh("zfs", "list", "-Hd1", "-o", "name", "-s", "createtxg", "-t", "snapshot", dataset).split()


def test_children_get_chains_of_their_own_and_the_uncovered_are_named(chains: Chains, tmp_path: Path) -> None:
    top, _ = chains.create("family")
    chains.create("family/child")
    sh("zfs", "create", "-V", "16M", f"{top}/volume")
    chains.create("family/away")
    sh("zfs", "unmount", f"{top}/away")
    (tmp_path / "key").write_text("a passphrase of the test")
    chains.create(
        "family/locked", "-o", "encryption=on", "-o", "keyformat=passphrase",
        "-o", f"keylocation=file://{tmp_path}/key",
    )  # fmt: skip
    sh("zfs", "unmount", f"{top}/locked")
    sh("zfs", "unload-key", f"{top}/locked")
    chains.machine.configure(top, recursive=True)
    first = chains.machine.run(expect=3)
    reasons = dict(first["not_covered"])
    assert reasons.keys() == {f"{top}/volume", f"{top}/away", f"{top}/locked"}
    assert "zvol" in reasons[f"{top}/volume"]
    assert "not mounted" in reasons[f"{top}/away"]
    assert "key" in reasons[f"{top}/locked"]
    assert [point["dataset"] for point in first["points"]] == [top, f"{top}/child"]
    assert len({point["snapshot"].partition("@")[2] for point in first["points"]}) == 1
    chains.create("family/late")
    second = chains.machine.run(expect=3)
    kinds = {point["dataset"]: point["kind"] for point in second["points"]}
    assert kinds == {top: "increment", f"{top}/child": "increment", f"{top}/late": "base"}
    for point in second["points"]:
        chains.check(point)


def test_every_reason_for_a_new_base(chains: Chains) -> None:
    dataset, root = chains.create("reasons")
    chains.machine.configure(dataset)
    assert chains.run()["reason"] == "first point of this dataset"
    (root / "data").write_bytes(secrets.token_bytes(200_000))
    increment = chains.run()
    assert (increment["kind"], increment["reason"]) == ("increment", None)

    chains.machine.configure(dataset, base_when_increments_exceed=0.1, pack_size="64KiB")
    assert "increments exceed 10%" in chains.run()["reason"]

    chains.machine.configure(dataset, exclude=("*.tmp",))
    assert "exclude patterns" in chains.run()["reason"]
    assert chains.run()["kind"] == "increment"

    for snapshot in _snapshots(dataset):
        release(snapshot)
        sh("zfs", "destroy", snapshot)
    (root / "after").write_text("the loss")
    gone = chains.run()
    assert (gone["kind"], "gone" in gone["reason"]) == ("base", True)
    chains.check(gone)

    chains.machine.configure(dataset, exclude=("*.tmp",), base_every="1s")
    time.sleep(1.5)
    assert "days old" in chains.run()["reason"]


def test_only_own_snapshots_are_destroyed_and_the_last_is_held(chains: Chains) -> None:
    dataset, _ = chains.create("holds")
    chains.machine.configure(dataset)
    foreign = [f"{dataset}@{label}" for label in ("mine", "zdiffsync-20200101T000000Z-abcd")]
    sh("zfs", "snapshot", foreign[0])
    sh("zfs", "snapshot", "-o", "org.zdiffsync:repository=another", foreign[1])
    for _ in range(3):
        report = chains.run()
        assert sorted(_snapshots(dataset)) == sorted([*foreign, report["snapshot"]])
        assert "zdiffsync" in sh("zfs", "holds", "-H", report["snapshot"])


def _wrapper(folder: Path, command: str, body: str) -> str:
    """Put a `zfs` into `folder` that is the real one but for one command; return a PATH with it."""
    real = sh("which", "zfs").strip()
    folder.mkdir()
    script = folder / "zfs"
    script.write_text(f'#!/bin/sh\nif [ "$1" = {command} ]; then\n{body}\nfi\nexec {real} "$@"\n')
    script.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo 'Unable to determine path or stats for object 9' >&2\nexit 0", "Unable to determine path"),
        ("exit 1", "exit code 1"),
        ("exec sleep 600", "2 s"),
    ],
    ids=["drops an object", "fails", "hangs"],
)
def test_a_failing_diff_costs_a_tree_comparison(
    chains: Chains, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    dataset, root = chains.create(f"diff{secrets.token_hex(2)}")
    chains.machine.configure(dataset)
    (root / "gone").write_text("soon")
    chains.run()
    (root / "file").write_text("changed")
    (root / "new").write_text("new")
    (root / "gone").unlink()
    monkeypatch.setenv("PATH", _wrapper(tmp_path / "bin", "diff", body))
    monkeypatch.setattr(zfs_diff, "_STALL", 2.0)
    report = chains.run()
    assert report["method"] == "tree comparison"
    assert said in report["fallback"]
    assert (report["created"], report["names_removed"]) == (1, 1)
    chains.check(report)


def test_without_leave_to_send_a_point_is_uncertified(
    chains: Chains, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, root = chains.create("send")
    chains.machine.configure(dataset)
    chains.run()
    (root / "file").write_text("changed")
    body = "echo 'cannot send: permission denied' >&2\nexit 1"
    monkeypatch.setenv("PATH", _wrapper(tmp_path / "bin", "send", body))
    report = chains.run()
    assert not report["certified"]
    assert "permission denied" in report["uncertified_because"]
    chains.check(report)


def test_a_lost_catalog_is_made_again(chains: Chains) -> None:
    dataset, root = chains.create("catalog")
    chains.machine.configure(dataset)
    chains.run()
    (root / "file").write_text("changed")
    last = chains.run()
    before = chains.machine.points(dataset)
    for path in (chains.machine.home / "state").glob("catalog.sqlite*"):
        path.unlink()
    assert chains.machine.points(dataset) == before
    chains.check(last)
    (root / "file").write_text("again")
    assert chains.run()["kind"] == "increment"


def _packs(machine: Machine) -> dict[str, int]:
    packs = (machine.remote / "data/packs").rglob("*")  # a .partial is one under way, or what a kill left
    return {path.name: path.stat().st_mtime_ns for path in packs if path.is_file() and not path.suffix}


def _command_lines() -> bytes:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return b"\n".join(found)


def test_a_killed_run_is_resumed(chains: Chains, tmp_path: Path) -> None:
    dataset, root = chains.create("killed")
    chains.machine.configure(dataset)
    chains.run()
    for number in range(12):
        (root / f"new{number}").write_bytes(secrets.token_bytes(250_000))
    chains.machine.configure(dataset, pack_size="256KiB", bwlimit="200K", transfers=1, staging_space="512KiB")
    before = _packs(chains.machine)
    program = Path(sys.executable).with_name("zdiffsync")
    seen = b""
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(
            [program, "-c", chains.machine.config, "-v", "run"], stdout=log, stderr=log
        )
        end = time.monotonic() + 120
        while len(_packs(chains.machine)) < len(before) + 3:
            assert running.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < end
            seen += _command_lines()
            time.sleep(0.05)
        chains.machine.run(expect=11)
        running.kill()
        running.wait()
    password = (chains.machine.home / "password").read_text().strip()
    assert b"rclone" in seen
    assert password.encode() not in seen
    assert password not in (tmp_path / "log").read_text()
    finished = _packs(chains.machine)
    chains.machine.configure(dataset)
    reports = chains.machine.run()["points"]
    assert [report["kind"] for report in reports] == ["increment", "increment"]
    assert reports[0]["created"] == 12
    assert reports[0]["uploaded_bytes"] < 12 * 250_000 - 400_000
    after = _packs(chains.machine)
    assert {name: after[name] for name in finished} == finished
    chains.check(reports[1])


def test_state_is_private(chains: Chains) -> None:
    state = chains.machine.home / "state"
    files = [path for path in state.iterdir() if path.is_file()]
    assert {"catalog.sqlite", "lock"} <= {path.name for path in files}
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in files} == dict.fromkeys(
        (path.name for path in files), 0o600
    )
    assert (
        json.dumps((chains.machine.home / "password").read_text().strip())[1:-1].encode()
        not in (state / "catalog.sqlite").read_bytes()
    )
