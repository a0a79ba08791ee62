"""check beside living snapshots and runs: what the remote gives back is what ZFS has."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from history_world import destroy
from machine import Machine, sh

pytestmark = pytest.mark.zfs

MIB = 1 << 20
PROGRAM = "from zdiffsync.cli.main import main; main()"


class Checked:
    """A dataset with three points; the last one's snapshot is held, the first is an older base's."""

    def __init__(self, parent: str, home: Path) -> None:
        self.parent = parent
        sh("zfs", "create", "-o", "acltype=posixacl", "-o", "xattr=sa", parent)
        self.dataset = f"{parent}/data"
        sh("zfs", "create", self.dataset)
        self.data = Path(sh("zfs", "get", "-Ho", "value", "mountpoint", self.dataset).strip())
        self.machine = Machine(home)
        self.machine.init(self.dataset, exclude=["*.tmp"])
        rng = random.Random(8)
        (self.data / "docs/deep").mkdir(parents=True)
        (self.data / "docs/letter").write_bytes(b"dear all\n")
        (self.data / "docs/deep/draft.tmp").write_bytes(b"not wanted")
        os.link(self.data / "docs/letter", self.data / "linked")
        (self.data / "link").symlink_to("docs")
        (self.data / "many").mkdir()
        for number in range(80):
            (self.data / f"many/{number}").write_bytes(rng.randbytes(700 * number))
        (self.data / "image").write_bytes(rng.randbytes(20 * MIB))
        os.setxattr(self.data / "image", "trusted.secret", b"only root")
        sh("setfacl", "-m", "u:1234:rw", str(self.data / "docs/letter"))
        self.points = [self.machine.run()["points"][0]["point"]]
        for offset in (MIB, 9 * MIB):
            with (self.data / "image").open("r+b") as file:
                file.seek(offset)
                file.write(rng.randbytes(3000))
            (self.data / "many" / str(offset)).write_bytes(rng.randbytes(5000))
            self.points.append(self.machine.run()["points"][0]["point"])


@pytest.fixture(scope="module")
def checked(pool: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checked]:
    made = Checked(f"{pool}/checked", tmp_path_factory.mktemp("checked"))
    yield made
    destroy(made.parent)


def test_the_remote_gives_back_what_the_snapshot_has(checked: Checked) -> None:
    (checked.data / "later").write_bytes(b"not in any point")
    report = checked.machine.cli("check", "--read-data", "--against-source", "--restore-drill", "latest")
    assert (report["findings"], report["points"], report["restored_point"]) == ([], 3, checked.points[2])
    assert min(report["files_compared"], report["files_restored"]) > 20  # of 84, by chance
    assert report["notes"] == []
    assert "no errors were found" in checked.machine.text("check")


def test_a_drill_of_an_older_point_has_only_digests_to_go_by(checked: Checked) -> None:
    report = checked.machine.cli("check", "--restore-drill", checked.points[0], "--sample", "10")
    assert report["findings"] == []
    assert report["files_restored"] in {9, 10}  # two names of one file are one
    assert "held against digests only" in report["notes"][0]


def test_a_damaged_pack_shows_in_the_comparison_and_in_the_drill(checked: Checked) -> None:
    away = checked.machine.home / "remote/data/packs"
    copy = shutil.copytree(away, checked.machine.home / "packs")
    large = max((path for path in away.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data = bytearray(large.read_bytes())
    data[300] ^= 1
    large.chmod(0o600)
    large.write_bytes(data)
    try:
        report = checked.machine.cli(
            "check", checked.dataset, "--against-source", "--restore-drill", expect=90
        )
        assert {finding["name"].partition(":")[0] for finding in report["findings"]} == {checked.dataset}
    finally:
        shutil.rmtree(away)
        shutil.copytree(copy, away)


def test_a_run_goes_on_beside_a_check(checked: Checked) -> None:
    command = [sys.executable, "-c", PROGRAM, "-c", str(checked.machine.config), "--json"]
    for round_ in range(3):
        (checked.data / f"round {round_}").write_bytes(b"new\n" * 1000)
        with subprocess.Popen([*command, "check", "--against-source"], stdout=subprocess.PIPE) as process:
            checked.machine.run()
            out, _ = process.communicate(timeout=300)
        assert process.returncode == 0, out.decode()
    checked.machine.run("--base")
    assert checked.machine.cli("check", "--against-source")["findings"] == []
