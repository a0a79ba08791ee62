"""The tripwire on real ZFS: a disaster is not backed up, and a person's word or a rollback goes on.

One repository serves all tests. A dataset with a few ordinary nights behind it serves them, too, until one
of them gives it a night that is none.
"""

import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from history_world import destroy
from machine import Machine, release, sh, snapshot_directory

from zdiffsync.backup.tripped import frozen
from zdiffsync.errors import RemoteError
from zdiffsync.store.area import Area

pytestmark = pytest.mark.zfs

FILES = 300
NIGHTS = 3


class House:
    """A dataset of letters with a base and two increments."""

    def __init__(self, pool: str, home: Path) -> None:
        self.parent = f"{pool}/tripwire-{secrets.token_hex(3)}"
        sh("zfs", "create", self.parent)
        self.root = Path(sh("zfs", "get", "-Ho", "value", "mountpoint", self.parent).strip())
        self.machine = Machine(home)
        self.machine.init()
        self.dataset, self.folder = "", Path()
        self.settled = False

    @property
    def state(self) -> Path:
        return self.machine.home / "state"

    def move_in(self) -> None:
        """Make a dataset and its ordinary nights."""
        self.dataset = f"{self.parent}/{secrets.token_hex(3)}"
        sh("zfs", "create", self.dataset)
        self.folder = self.root / self.dataset.rpartition("/")[2]
        for number in range(FILES):
            (self.folder / f"letter{number}.txt").write_text(f"letter {number}: " + "dear friend, " * 200)
        self.machine.configure(self.dataset)
        self.machine.run()
        for night in range(1, NIGHTS):
            (self.folder / f"letter{night}.txt").write_text("changed " * night)
            (self.folder / f"new{night}.txt").write_text("new")
            self.machine.run()
        self.settled = False

    def stay(self) -> None:
        """Go on from the last point when all nights so far were ordinary ones, else move in."""
        if not self.settled:
            self.move_in()
            self.settled = True
        self.machine.configure(self.dataset)
        sh("zfs", "rollback", self.last()["snapshot"])

    def letters(self) -> list[Path]:
        return sorted(self.folder.glob("letter*.txt"))

    def encrypt(self, share: float) -> None:
        """Do what ransomware does: write something random of the same size beside it, delete the letter."""
        letters = self.letters()
        for letter in letters[: int(share * len(letters))]:
            letter.with_suffix(".txt.locked").write_bytes(secrets.token_bytes(letter.stat().st_size))
            letter.unlink()

    def snapshots(self) -> list[str]:
        rows = sh("zfs", "list", "-Hd1", "-o", "name", "-s", "createtxg", "-t", "snapshot", self.dataset)
        return rows.split()

    def remote(self) -> set[tuple[str, int]]:
        found = (path for path in self.machine.remote.rglob("*") if path.is_file())
        return {(str(path), path.stat().st_mtime_ns) for path in found}

    def last(self) -> dict[str, Any]:
        return self.machine.points(self.dataset)[-1]

    def stopped(self, *arguments: str) -> dict[str, Any]:
        """Run; nothing may come of it. Return why."""
        before = self.remote(), self.machine.points(), self.snapshots()
        report = self.machine.run(*arguments, expect=3)
        assert (self.remote(), self.machine.points(), self.snapshots()) == before
        assert "zdiffsync" in sh("zfs", "holds", "-H", self.last()["snapshot"])
        [stopped] = report["tripped"]
        assert stopped["dataset"] == stopped["accept"] == self.dataset
        assert stopped["last_point"] == self.last()["point"]
        return stopped["finding"]

    def check_last(self) -> None:
        """Hold the last point against its snapshot."""
        target = self.root / f"restored-{secrets.token_hex(3)}"
        self.machine.check(self.last(), snapshot_directory(self.last()["snapshot"]), target)


@pytest.fixture(scope="module")
def house(pool: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(pool, tmp_path_factory.mktemp("tripwire"))
    yield made
    destroy(made.parent)


@pytest.fixture(autouse=True)
def _nothing_left(house: House) -> Iterator[None]:
    yield
    (house.state / "tripped.json").unlink(missing_ok=True)


def test_a_deletion_is_not_backed_up_and_a_rollback_ends_it(house: House) -> None:
    house.stay()
    shutil.rmtree(house.folder, ignore_errors=True)
    finding = house.stopped()
    assert finding["night"] == {"deleted": FILES + 2, "rewritten": 0}
    assert frozen(house.state) is not None
    sh("zfs", "rollback", house.last()["snapshot"])
    assert house.machine.run()["tripped"] == []
    assert frozen(house.state) is None
    house.check_last()


def test_files_encrypted_in_place_are_noticed_at_a_lower_count(house: House) -> None:
    house.stay()
    for letter in house.letters()[:120]:
        letter.write_bytes(secrets.token_bytes(letter.stat().st_size))
    finding = house.stopped()
    assert (finding["many_rewritten"], finding["looks_encrypted"]) == (False, True)
    assert finding["night"]["rewritten"] == 120


def test_a_base_asks_as_well(house: House) -> None:
    house.stay()
    for letter in house.letters()[:100]:
        letter.unlink()
    finding = house.stopped("--base")
    assert finding["night"] == {"deleted": 100, "rewritten": 0}
    assert finding["files"] == FILES + 2


def test_switched_off_it_asks_nothing(house: House) -> None:
    house.stay()
    house.encrypt(1)
    with house.machine.config.open("a") as config:
        config.write("[tripwire]\nenabled = false\n")
    report = house.machine.run("--dry-run")
    assert (report["tripped"], report["points"][0]["files_rewritten"]) == ([], FILES)


def test_files_left_out_by_new_patterns_are_not_deleted(house: House) -> None:
    house.stay()
    house.machine.configure(house.dataset, exclude=("letter*",))
    [point] = house.machine.run("--dry-run")["points"]
    assert (point["kind"], point["files_total"], point["files_deleted"]) == ("base", 2, 0)


def test_moves_modes_and_times_are_not_rewriting(house: House) -> None:
    house.stay()
    (house.folder / "moved").mkdir()
    for letter in house.letters():
        letter.chmod(0o600)
        letter.rename(house.folder / "moved" / letter.name)
        (house.folder / "moved" / letter.name).touch()
    [point] = house.machine.run("--dry-run")["points"]
    assert (point["files_deleted"], point["files_rewritten"], point["files_total"]) == (0, 0, FILES + 2)


def test_other_datasets_get_their_points(house: House) -> None:
    house.stay()
    stopped, folder = house.dataset, house.folder
    house.move_in()
    house.machine.configure(stopped, house.dataset)
    shutil.rmtree(folder, ignore_errors=True)
    report = house.machine.run(expect=3)
    assert [item["dataset"] for item in report["tripped"]] == [stopped]
    assert [item["dataset"] for item in report["points"]] == [house.dataset]
    house.machine.configure(house.dataset)
    house.machine.run("--accept-changes", house.dataset)
    assert f"{stopped}, since" in str(frozen(house.state))
    house.machine.run("--accept-changes")
    assert frozen(house.state) is None


def test_encryption_is_not_backed_up_until_somebody_accepts_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.move_in()
    house.encrypt(0.8)
    finding = house.stopped()
    assert finding["night"] == {"deleted": 0, "rewritten": 240}
    assert (finding["files"], finding["usual"]["rewritten"]) == (FILES + 2, 1)
    assert (finding["many_rewritten"], finding["looks_encrypted"]) == (True, True)
    assert finding["extension"] == ".locked"
    assert finding["samples"]["encrypted"] == finding["samples"]["judged"] > 16
    assert "240 of 302 files were rewritten and now end in '.locked'" in str(frozen(house.state))
    for command in (["forget", "--keep-last", "1"], ["prune"]):
        assert "wait for a look" in house.machine.cli(*command, expect=2)["error"]
        house.machine.cli(*command, "--dry-run")
    house.check_last()
    said = house.machine.text("run", expect=3)
    assert f"{house.dataset}: not backed up: 240 of 302 files" in said
    assert f"zdiffsync run --accept-changes {house.dataset}" in said
    assert "would not be backed up" in house.machine.text("run", "--dry-run", expect=3)

    with monkeypatch.context() as broken:
        broken.setattr(Area, "upload", _all_but_manifests)
        house.machine.run("--accept-changes", house.dataset, expect=5)
    assert frozen(house.state) is not None
    report = house.machine.run()
    assert [point["files_rewritten"] for point in report["points"]] == [240, 0]
    assert {point["files_total"] for point in report["points"]} == {FILES + 2}
    assert frozen(house.state) is None
    house.check_last()


def _all_but_manifests(
    area: Area, stage: Path, names: Sequence[str], progress: Callable[[int], None]
) -> None:
    if any(name.endswith(".manifest") for name in names):
        raise RemoteError("the line is dead")
    _UPLOAD(area, stage, names, progress)


_UPLOAD = Area.upload


def test_without_the_last_snapshot_a_base_asks_by_the_number_of_files(house: House) -> None:
    house.move_in()
    for letter in house.letters()[:100]:
        letter.unlink()
    for snapshot in house.snapshots():
        release(snapshot)
        sh("zfs", "destroy", snapshot)
    before = house.remote()
    [stopped] = house.machine.run(expect=3)["tripped"]
    assert (house.remote(), house.snapshots()) == (before, [])
    assert stopped["finding"]["night"]["deleted"] == 100
    [point] = house.machine.run("--accept-changes")["points"]
    assert (point["kind"], point["files_total"]) == ("base", FILES - 98)
    house.check_last()
