"""Beside other ZFS tools: their snapshots, their renames, promotions and rollbacks, their pruning.

One repository serves all tests; each has datasets of its own. What points restore is held against snapshots.
"""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from history_world import destroy
from machine import Machine, sh, snapshot_directory

pytestmark = pytest.mark.zfs


class House:
    """A machine with one repository, and datasets below one parent."""

    def __init__(self, pool: str, home: Path) -> None:
        self.parent = f"{pool}/tools-{secrets.token_hex(3)}"
        sh("zfs", "create", "-o", "acltype=posixacl", "-o", "xattr=sa", self.parent)
        self.root = Path(sh("zfs", "get", "-Ho", "value", "mountpoint", self.parent).strip())
        self.machine = Machine(home)
        self.machine.configure()
        self.mark = self.machine.cli("init")["repository"][:8]
        self.tag = f"zdiffsync:{self.mark}"

    def create(self, name: str, *options: str) -> tuple[str, Path]:
        dataset = f"{self.parent}/{name}"
        sh("zfs", "create", *options, dataset)
        self.write(self.root / name, "first")
        return dataset, self.root / name

    def write(self, folder: Path, name: str) -> None:
        """Make a night's worth of changes."""
        (folder / name).mkdir()
        (folder / name / "new").write_bytes(secrets.token_bytes(5000))
        (folder / "changed").write_text(name * 3)

    def configure(self, *datasets: str, **keys: Any) -> None:
        """Write the configuration; `keys` go into every dataset's table."""
        self.machine.configure(*datasets)
        if keys:
            text = self.machine.config.read_text()
            lines = "".join(f"{key} = {value!r}\n" for key, value in keys.items())
            self.machine.config.write_text(text.replace("recursive = false\n", f"recursive = false\n{lines}"))

    def point(self, **how: Any) -> dict[str, Any]:
        """Run; check the only dataset's point against its snapshot and return its report."""
        [report] = self.machine.run(**how)["points"]
        target = self.root / f"restored-{report['point']}"
        self.machine.check(report, snapshot_directory(report["snapshot"]), target)
        return report

    def holds(self, snapshot: str) -> list[str]:
        return [row.split("\t")[1] for row in sh("zfs", "holds", "-H", snapshot).splitlines()]


@pytest.fixture(scope="module")
def house(pool: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(pool, tmp_path_factory.mktemp("tools"))
    yield made
    destroy(made.parent)


def _snapshots(dataset: str) -> list[str]:
    return sh("zfs", "list", "-Hd1", "-o", "name", "-s", "createtxg", "-t", "snapshot", dataset).split()


def test_the_newest_snapshot_of_another_tool_is_backed_up_and_stays_its_own(house: House) -> None:
    dataset, folder = house.create("zrepl")
    house.configure(dataset, snapshots="zrepl_*")
    assert "no snapshot named 'zrepl_*'" in house.machine.run(expect=3)["not_covered"][0][1]
    sh("zfs", "snapshot", f"{dataset}@zrepl_1")
    sh("zfs", "snapshot", f"{dataset}@manual")
    first = house.point()
    assert first["snapshot"] == f"{dataset}@zrepl_1"
    again = house.machine.run()
    assert again["points"] == []
    assert again["nothing_new"] == [
        {"dataset": dataset, "snapshot": first["snapshot"], "last_point": first["point"]}
    ]
    assert "nothing new since point" in house.machine.text("run")
    for name in ("zrepl_2", "zrepl_3"):
        house.write(folder, name)
        sh("zfs", "snapshot", f"{dataset}@{name}")
    assert house.machine.run("--dry-run")["points"][0]["snapshot"] == f"{dataset}@zrepl_3"
    assert house.holds(f"{dataset}@zrepl_3") == []
    second = house.point()
    assert (second["kind"], second["snapshot"]) == ("increment", f"{dataset}@zrepl_3")
    labels = ("zrepl_1", "manual", "zrepl_2", "zrepl_3")
    assert _snapshots(dataset) == [f"{dataset}@{label}" for label in labels]
    assert [house.holds(f"{dataset}@{label}") for label in labels] == [[], [], [], [house.tag]]
    marks = [
        sh("zfs", "get", "-Ho", "value", "org.zdiffsync:cloud-safe", f"{dataset}@{label}").strip()
        for label in labels
    ]
    assert marks == [f"{house.mark}:{first['point']}", "-", "-", f"{house.mark}:{second['point']}"]
