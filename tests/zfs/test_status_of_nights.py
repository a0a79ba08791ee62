"""`status` on real ZFS: what it says after each kind of night, of datasets that come and go."""

import secrets
from pathlib import Path
from typing import Any

import pytest
from history_world import destroy
from machine import Machine, sh

pytestmark = pytest.mark.zfs


def states(machine: Machine, expect: int) -> dict[str, str]:
    told = machine.cli("status", expect=expect)
    return {each["dataset"].rpartition("/")[2]: each["state"] for each in told["datasets"]}


def of(machine: Machine, name: str, expect: int) -> dict[str, Any]:
    found = machine.cli("status", expect=expect)["datasets"]
    return next(each for each in found if each["dataset"].endswith(name))


def let_go(dataset: str) -> None:
    for row in sh("zfs", "list", "-Hro", "name", "-t", "snapshot", dataset).split():
        for hold in sh("zfs", "holds", "-H", row).splitlines():
            sh("zfs", "release", hold.split("\t")[1], row)
        sh("zfs", "destroy", row)


def test_status_tells_what_the_nights_were(pool: str, tmp_path: Path) -> None:
    parent = f"{pool}/status-{secrets.token_hex(3)}"
    for name in "", "/data", "/gone":
        sh("zfs", "create", parent + name)
    folder = Path(sh("zfs", "get", "-Ho", "value", "mountpoint", f"{parent}/data").strip())
    for number in range(150):
        (folder / f"letter{number}").write_text(f"dear {number}")
    machine = Machine(tmp_path)
    machine.init(parent, recursive=True)
    top = parent.rpartition("/")[2]
    assert states(machine, 0) == {top: "never", "data": "never", "gone": "never"}  # all are new

    for _ in range(3):
        machine.run()
    assert states(machine, 0) == {top: "ok", "data": "ok", "gone": "ok"}
    data = of(machine, "/data", 0)
    assert (data["snapshot_there"], data["interrupted"], data["chain_depth"]) == (True, None, 2)
    assert machine.cli("status")["remote_bytes"]["bases"] > 0

    sh("zfs", "create", "-V", "8M", f"{parent}/disk")
    sh("zfs", "rename", f"{parent}/gone", f"{parent}/renamed")
    sh("zfs", "unmount", f"{parent}/renamed")
    for number in range(140):
        (folder / f"letter{number}").unlink()
    machine.run(expect=3)
    assert states(machine, 3) == {
        top: "ok",
        "data": "tripped",
        "disk": "not covered",
        "renamed": "not covered",
    }
    assert of(machine, "/renamed", 3)["points"] == 3  # those it has under its former name

    sh("zfs", "destroy", f"{parent}/disk")
    let_go(f"{parent}/renamed")
    sh("zfs", "destroy", f"{parent}/renamed")
    let_go(f"{parent}/data")
    machine.run("--accept-changes")
    told = machine.cli("status")
    assert [each["dataset"].rpartition("/")[2] for each in told["former"]] == ["gone"]
    assert told["well"]
    let_go(f"{parent}/data")
    assert of(machine, "/data", 0)["snapshot_there"] is False

    sh("zfs", "unmount", f"{parent}/data")
    sh("zfs", "unmount", parent)
    assert set(states(machine, 3).values()) == {"not covered"}
    destroy(parent)
    told = machine.cli("status", expect=3)
    assert [(each["state"], each["points"] > 0) for each in told["datasets"]] == [("failing", True)]
    assert "does not exist" in told["datasets"][0]["why"]
