"""repair beside living snapshots, and the runs after it: nothing new depends on what is lost."""

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from history_world import destroy
from machine import Machine, sh, snapshot_directory

from oracle import differences
from zdiffsync.cli import repair

pytestmark = pytest.mark.zfs

MIB = 1 << 20


class Repaired:
    """A dataset; what each of its points must give back is in a snapshot of the test's own."""

    def __init__(self, parent: str, home: Path) -> None:
        self.parent = parent
        sh("zfs", "create", "-o", "acltype=posixacl", "-o", "xattr=sa", parent)
        self.dataset = f"{parent}/data"
        sh("zfs", "create", self.dataset)
        self.data = Path(sh("zfs", "get", "-Ho", "value", "mountpoint", self.dataset).strip())
        self.machine = Machine(home)
        self.machine.init(self.dataset, pack_size="1MiB", base_when_increments_exceed=100)
        self.rng = random.Random(9)
        (self.data / "docs/deep").mkdir(parents=True)
        for name in ("docs/letter", "docs/deep/note", "quiet", "twice"):
            (self.data / name).write_bytes(b"first\n" * 100)
        os.link(self.data / "twice", self.data / "docs/again")
        (self.data / "image").write_bytes(self.rng.randbytes(4 * MIB))
        self.points: list[str] = []
        self.packs: list[set[Path]] = []

    def run(self, *arguments: str, expect: int = 0) -> dict[str, Any]:
        """Make a point; remember what it uploaded and what it must give back."""
        before = self.all_packs()
        sh("zfs", "snapshot", f"{self.dataset}@moment{len(self.points)}")
        report = self.machine.run(*arguments, expect=expect)["points"][0]
        self.points.append(report["point"])
        self.packs.append(self.all_packs() - before)
        return report

    def all_packs(self) -> set[Path]:
        folder = self.machine.remote / "data/packs"
        return {path for path in folder.rglob("*") if path.is_file()}

    def patch(self, name: str, *offsets: int) -> None:
        with (self.data / name).open("r+b") as file:
            for offset in offsets:
                file.seek(offset)
                file.write(self.rng.randbytes(3000))

    def check(self, *arguments: str, expect: int = 0) -> dict[str, Any]:
        return self.machine.cli("check", "--read-data", *arguments, expect=expect)

    def restores(self, number: int, *, without: tuple[str, ...] = ()) -> None:
        """Restore a point from the remote alone and hold it against its moment."""
        target = self.data.parent / "restored"
        shutil.rmtree(target, ignore_errors=True)
        shutil.rmtree(self.machine.home / "state/cache", ignore_errors=True)
        report = self.machine.restore(self.points[number], target, expect=90 if without else 0)
        assert {path for path, _ in report["failed"]} == set(without)
        moment = snapshot_directory(f"{self.dataset}@moment{number}", str(self.data))
        found = differences(moment, str(target))
        assert without or found == []


@pytest.fixture
def made(pool: str, tmp_path: Path) -> Iterator[Repaired]:
    made = Repaired(f"{pool}/repaired", tmp_path)
    yield made
    destroy(made.parent)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def test_what_the_held_snapshot_has_comes_back(made: Repaired) -> None:
    made.run()
    (made.data / "large").write_bytes(made.rng.randbytes(30 * MIB + 17))
    for number in range(20):
        (made.data / f"small {number}").write_bytes(made.rng.randbytes(2000))
    made.run()
    made.patch("image", MIB, 3 * MIB)
    made.run()
    *others, cut, gone = sorted(made.packs[1], key=lambda path: path.stat().st_size)
    assert len(others) > 4
    flip(others[-1])
    os.truncate(cut, cut.stat().st_size - 64 * 1024 - 16)
    gone.unlink()
    [delta] = made.packs[2]
    flip(delta)
    report = made.check(expect=90)
    assert len(report["findings"]) == 4
    assert {each["path"] for finding in report["findings"] for each in finding["named"]} >= {"large", "image"}
    report = made.machine.cli("repair")
    assert (report["lost"], report["left"]) == (None, [])
    assert report["uploaded_bytes"] < 18 * MIB  # of the large file only the windows in its damaged packs
    assert made.check()["findings"] == []
    for number in range(3):
        made.restores(number)
    made.patch("large", 100)
    made.patch("image", 5)
    assert made.run()["deltas"] == 2
    made.restores(3)
    made.machine.cli("prune", "--now")
    assert made.check("--against-source")["findings"] == []
    for number in range(4):
        made.restores(number)


def test_what_is_lost_is_given_up_and_nothing_new_depends_on_it(
    made: Repaired, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.run()
    for name in ("docs/letter", "docs/deep/note", "quiet", "twice"):
        (made.data / name).write_bytes(b"second " + name.encode())
    made.patch("image", MIB)
    made.run()
    made.patch("image", 2 * MIB)
    (made.data / "copy").write_bytes(b"second quiet")  # the very bytes of another file's content
    made.run()
    for pack in made.packs[1]:
        pack.unlink()
    monkeypatch.setattr(repair, "snapshot_directories", lambda _dataset: {})
    report = made.machine.cli("repair", expect=90)
    lost = {each["path"] for each in report["lost"]["named"]}
    assert lost - {"twice", "docs/again"} == {"docs/letter", "docs/deep/note", "quiet", "image", "copy"}
    monkeypatch.undo()
    # nothing changes in the live tree but a directory's name and, in part, the image
    (made.data / "docs/deep").rename(made.data / "docs/shallow")
    made.patch("image", 3 * MIB)
    (made.data / "third").write_bytes(b"second quiet")
    report = made.run()
    assert report["deltas"] == 0
    made.restores(3)
    assert made.check("--against-source", "--restore-drill", "latest")["findings"] == []
    made.patch("image", 100)
    (made.data / "quiet").write_bytes(b"third")
    assert made.run()["deltas"] == 1
    made.restores(4)
    made.restores(0)
    notes = made.check()["notes"]
    assert any(note.startswith("lost, as repair found no copy") for note in notes)


def test_the_run_after_a_damaged_base_makes_a_new_one_that_is_whole(made: Repaired) -> None:
    made.run()
    (made.data / "docs/letter").write_bytes(b"changed")
    made.run()
    data = made.machine.remote / "restic/data"
    large = max((path for path in data.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    flip(large)
    assert made.check(expect=90)["findings"][0]["name"] == "restic"
    assert made.machine.cli("repair")["new_bases"]
    report = made.run()
    assert (report["kind"], report["reason"]) == ("base", "the base was found damaged")
    made.restores(2)
    made.restores(0)  # what the new base stored anew was the old one's, too
    assert made.check()["findings"] == []
    (made.data / "docs/letter").write_bytes(b"changed again")
    assert made.run()["kind"] == "increment"
    made.restores(3)


def test_a_damaged_manifest_that_the_catalog_knows_is_no_loss(made: Repaired) -> None:
    for number in range(3):
        made.run()
        made.patch("image", number * MIB)
        (made.data / "docs" / str(number)).write_bytes(b"new")
        os.link(made.data / "docs/letter", made.data / f"letter {number}")
    made.run()
    [manifest] = made.machine.remote.rglob("000002-000002.0.manifest")
    flip(manifest)
    assert len(made.check(expect=90)["findings"]) == 1
    assert len(made.machine.cli("repair")["written"]) == 1
    (made.machine.home / "state/catalog.sqlite").unlink()
    assert made.check()["findings"] == []
    for number in range(4):
        made.restores(number)
    (made.data / "docs/letter").write_bytes(b"changed under all its names")
    assert made.run()["kind"] == "increment"
    made.restores(4)


def test_without_a_catalog_the_next_run_begins_a_new_chain(made: Repaired) -> None:
    for number in range(3):
        made.patch("image", number * MIB)
        made.run()
    [manifest] = made.machine.remote.rglob("000001-000001.0.manifest")
    flip(manifest)
    (made.machine.home / "state/catalog.sqlite").unlink()
    made.machine.run(expect=90)
    report = made.machine.cli("repair", expect=90)
    assert len(report["moved"]) == 2
    assert made.run()["kind"] == "base"
    assert made.check()["findings"] == []
    made.restores(0)
    made.restores(3)
