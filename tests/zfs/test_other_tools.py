"""Beside other ZFS tools: their snapshots, their renames, promotions and rollbacks, their pruning.

One repository serves all tests; each has datasets of its own. What points restore is held against snapshots.
"""

import secrets
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from history_world import destroy
from machine import Machine, release, sh, snapshot_directory

from zdiffsync.maintain.memory import CheckMemory
from zdiffsync.store.repository import remembered

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

    def marks(self, dataset: str) -> list[str]:
        """Return what every snapshot says of being backed up, the oldest first."""
        mark = "org.zdiffsync:cloud-safe"
        return sh("zfs", "list", "-Hd1", "-o", mark, "-s", "createtxg", "-t", "snapshot", dataset).split()

    def judge(self, snapshot: str, *, expect: int) -> tuple[bool, bool, str | None]:
        """Ask whether a snapshot may go; return whether it is safe, whether needed, and its point."""
        [said] = self.machine.cli("safe-to-destroy", snapshot, expect=expect)["snapshots"]
        return said["safe"], said["needed"], said["point"]

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
    safe = house.marks(dataset)
    assert safe == [f"{house.mark}:{first['point']}", "-", "-", f"{house.mark}:{second['point']}"]

    assert house.judge(f"{dataset}@zrepl_1", expect=0) == (True, False, first["point"])
    assert house.judge(f"{dataset}@zrepl_2", expect=3) == (False, False, None)
    assert house.judge(f"{dataset}@zrepl_3", expect=3) == (True, True, second["point"])
    packs = [path.name for path in (house.machine.remote / "data/packs").rglob("*") if path.is_file()]
    memory = CheckMemory(house.machine.home / "state", remembered(house.machine.home / "state/repository"))
    for find, whole in (partial(memory.bad, what="odd bytes"), False), (memory.good, True):
        for pack in packs:
            find(pack)
        memory.save(packs)
        assert house.judge(f"{dataset}@zrepl_1", expect=0 if whole else 3) == (whole, False, first["point"])
    house.machine.cli("forget", first["point"])
    assert house.judge(f"{dataset}@zrepl_1", expect=3) == (False, False, None)
    house.machine.run()
    assert house.marks(dataset) == ["-", "-", "-", safe[-1]]
    [manifest] = (house.machine.remote / "data/points").rglob("*.manifest")
    manifest.unlink()
    said = house.machine.text("safe-to-destroy", f"{dataset}@zrepl_3", expect=3)
    assert said.startswith("not safe")
    assert "is not on the remote" in said


NAMES = ("moved", "promoted", "apart", "rolled", "robbed", "anew", "replaced", "locked")


class Fates:
    """A parent with a dataset for each fate, one of them encrypted, and a pool of its own for another.

    `at` is where each dataset is now, `last` the snapshot of its first point as it was called then.
    """

    def __init__(self, house: House, place: Path) -> None:
        self.house, self.place = house, place
        self.top = f"{house.parent}/top"
        sh("zfs", "create", self.top)
        (place / "key").write_text("a passphrase of the test")
        key = ("-o", "encryption=on", "-o", "keyformat=passphrase", "-o", f"keylocation=file://{place}/key")
        self.at = {name: house.create(f"top/{name}", *(key if name == "locked" else ()))[0] for name in NAMES}
        sh("zfs", "snapshot", f"{self.at['rolled']}@before")
        with (place / "disk").open("wb") as disk:
            disk.truncate(256 << 20)
        self.pool = f"roving-{secrets.token_hex(3)}"
        sh("zpool", "create", "-o", "cachefile=none", "-m", f"{place}/roving", self.pool, f"{place}/disk")
        house.write(place / "roving", "first")
        points = self.night()
        self.last = {name: points[dataset]["snapshot"] for name, dataset in self.at.items()}
        assert {report["kind"] for report in points.values()} == {"base"}

    def night(self, **how: Any) -> dict[str, dict[str, Any]]:
        """Run; return the reports of all points by dataset."""
        self.house.machine.configure(self.top, self.pool, recursive=True)
        return {report["dataset"]: report for report in self.house.machine.run(**how)["points"]}

    def befall(self) -> None:
        """Let all fates take their course, and then the files change."""
        at, last = self.at, self.last
        sh("zfs", "hold", "keep", last["moved"])  # somebody's
        sh("zfs", "hold", "zdiffsync", last["moved"])  # an older zdiffsync's
        sh("zfs", "create", f"{self.top}/elsewhere")
        sh("zfs", "rename", at["moved"], f"{self.top}/elsewhere/moved")
        at["moved"] = f"{self.top}/elsewhere/moved"
        copied = f"{at['moved']}@{self.label('moved')}"
        sh("sh", "-c", f"zfs send -p {copied} | zfs receive -o readonly=on {self.top}/received")
        for name in ("promoted", "apart", "replaced"):
            sh("zfs", "snapshot", f"{at[name]}@now")
            sh("zfs", "clone", f"{at[name]}@now", f"{at[name]}-clone")
            sh("zfs", "promote", f"{at[name]}-clone")
        sh("zfs", "unmount", f"{at['apart']}-clone")
        sh("zfs", "destroy", at["replaced"])
        sh("zfs", "rename", f"{at['replaced']}-clone", at["replaced"])
        self._roll_back()
        release(last["robbed"], last["anew"])
        sh("zfs", "destroy", last["robbed"])
        sh("zfs", "destroy", "-r", at["anew"])
        self.house.create("top/anew")
        sh("zpool", "export", self.pool)
        self.pool += "-2"
        disks = str(self.place)
        sh("zpool", "import", "-o", "cachefile=none", "-d", disks, self.pool.removesuffix("-2"), self.pool)
        for name in ("elsewhere/moved", "promoted", "apart", "rolled", "robbed", "anew", "replaced"):
            self.house.write(self.house.root / "top" / name, "second")
        self.house.write(self.place / "roving", "second")
        sh("zfs", "unmount", at["locked"])
        sh("zfs", "unload-key", at["locked"])

    def label(self, name: str) -> str:
        return self.last[name].partition("@")[2]

    def _roll_back(self) -> None:
        """Roll back past a last point, which needs its hold taken off, as ZFS says."""
        before, last = f"{self.at['rolled']}@before", self.last["rolled"]
        refused = subprocess.run(["zfs", "rollback", "-r", before], check=False, capture_output=True)
        assert f"cannot destroy '{last}': dataset is busy" in refused.stderr.decode()
        sh("zfs", "release", self.house.tag, last)
        sh("zfs", "rollback", "-r", before)

    def unlock(self) -> None:
        sh("zfs", "load-key", self.at["locked"])
        sh("zfs", "mount", self.at["locked"])
        self.house.write(self.house.root / "top/locked", "second")


def test_what_becomes_of_datasets_costs_a_base_only_where_the_last_snapshot_is_lost(
    house: House, tmp_path: Path
) -> None:
    fates = Fates(house, tmp_path)
    at, last = fates.at, fates.last
    fates.befall()
    second = fates.night(expect=3)
    for report in second.values():
        target = house.root / f"restored-{report['point']}"
        house.machine.check(report, snapshot_directory(report["snapshot"]), target)

    received = second[f"{fates.top}/received"]
    told = {name: second[at[name]]["reason"] for name in NAMES if name != "locked"}
    bases = {dataset for dataset, report in second.items() if report["kind"] == "base"}
    assert not bases & {fates.top, fates.pool, at["moved"], at["promoted"]}
    assert bases > {at[name] for name in ("apart", "rolled", "robbed", "anew", "replaced")}
    assert (told["moved"], second[fates.pool]["reason"]) == (None, None)
    assert [point["sequence"] for point in house.machine.points(at["moved"])] == [0, 1]
    promoted = "after zfs promote the last point's snapshot is "
    assert told["promoted"] == promoted + last["promoted"].replace("@", "-clone@")
    assert told["apart"].startswith(promoted)
    assert "is not mounted" in told["apart"]
    for name in ("rolled", "robbed"):
        assert (
            told[name] == f"snapshot {last[name]} of the last point is gone: destroyed, or rolled back past"
        )
    assert told["anew"].endswith("another than the one that had its name before")
    assert told["replaced"].endswith(f"shares snapshot {fates.label('replaced')} with {at['replaced']}")
    assert received["reason"].endswith(f"shares snapshot {fates.label('moved')} with {at['moved']}")
    assert received["read_bytes"] == 0

    former = f"{at['moved']}@{fates.label('moved')}"
    copy = f"{fates.top}/received@{fates.label('moved')}"
    there = sh("zfs", "list", "-Hro", "name", "-t", "snapshot", fates.top).split()
    points = {report["snapshot"] for dataset, report in second.items() if dataset != fates.pool}
    assert {name for name in there if "@zdiffsync-" in name} == points | {former, copy, last["locked"]}
    assert house.holds(former) == ["keep"]
    sh("zfs", "release", "keep", former)
    assert former not in _snapshots(at["moved"])

    fates.unlock()
    house.machine.configure(at["locked"])
    locked = house.point()
    assert (locked["kind"], locked["certified"]) == ("increment", True)
    sh("zpool", "destroy", fates.pool)
