"""Inputs that break backup tools: odd names, many files, huge sparse ones, excludes, other restics.

One repository serves all of it: three datasets, each with a base and one increment.
"""

import contextlib
import io
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from history_world import NAMES, destroy
from machine import Machine, sh, snapshot_directory

from oracle import differences
from zdiffsync.cli.main import invoke

pytestmark = pytest.mark.zfs

TREE, MANY, SPARSE = "tree", "many", "sparse"
EXCLUDE = ("*.tmp", "/cache/left-out/")
FOLDERS, FILES, MOVED = 100, 100, 10_000
SPARSE_SIZE, SPARSE_DATA = 4 << 30, 3 << 20
ODD = tuple(name[:240] for name in NAMES)


class Inputs:
    """The datasets, the machine that backs them up, and what its runs said."""

    def __init__(self, pool: str, home: Path) -> None:
        self.parent = f"{pool}/inputs-{secrets.token_hex(3)}"
        sh("zfs", "create", "-o", "acltype=posixacl", "-o", "xattr=sa", self.parent)
        for name in (TREE, MANY, SPARSE, "restored"):
            sh("zfs", "create", f"{self.parent}/{name}")
        self.root = Path(sh("zfs", "get", "-Ho", "value", "mountpoint", self.parent).strip())
        self.machine = Machine(home)
        self.reports: dict[tuple[str, str], dict[str, Any]] = {}

    def run(self, moment: str, *arguments: str) -> None:
        sh("zfs", "snapshot", *(f"{self.parent}/{name}@{moment}" for name in (TREE, MANY, SPARSE)))
        for point in self.machine.run(*arguments)["points"]:
            self.reports[point["dataset"].rpartition("/")[2], moment] = point

    def point(self, name: str, moment: str) -> str:
        return self.reports[name, moment]["point"]

    def snapshot(self, name: str, moment: str) -> Path:
        return Path(snapshot_directory(f"{self.parent}/{name}@{moment}"))

    def restored(self, name: str, moment: str) -> Path:
        """Restore a whole point to ZFS; return where."""
        target = self.root / "restored" / f"{name}-{moment}"
        if not target.exists():
            self.machine.restore(self.point(name, moment), target)
        return target

    def differences(self, name: str, moment: str) -> list[str]:
        return differences(str(self.snapshot(name, moment)), str(self.restored(name, moment)))


def _grow_tree(tree: Path) -> None:
    os.mkdir(tree / "names")
    for name in ODD:
        path = os.fsencode(tree / "names") + b"/" + name
        os.mkdir(path)
        with open(path + b"/" + name, "wb") as file:
            file.write(name)
    (tree / "cache/left-out").mkdir(parents=True)
    (tree / "cache/left-out/inside").write_text("not backed up")
    (tree / "cache/left-out/deep").mkdir()
    (tree / "cache/left-out/deep/inside").write_text("not backed up")
    (tree / "cache/kept").mkdir()
    (tree / "cache/kept/inside").write_text("backed up")
    (tree / "kept").write_text("kept")
    (tree / "note.tmp").write_text("temporary")
    (tree / "large").write_bytes(secrets.token_bytes(3 << 20))
    (tree / "moved/below").mkdir(parents=True)
    (tree / "moved/below/large").write_bytes(secrets.token_bytes(2 << 20))
    for number in range(20):
        path = tree / f"meta{number}"
        path.write_bytes(secrets.token_bytes(1000))
        os.setxattr(path, "user.note", b"v%d" % number)
        sh("setfacl", "-m", f"u:{1000 + number}:rw", str(path))


def _change_tree(tree: Path) -> None:
    for name in ODD:
        path = os.fsencode(tree / "names") + b"/" + name
        with open(path + b"/" + name, "ab") as file:
            file.write(b" changed")
        os.rename(path, path + b".r")
    os.rename(tree / "cache/left-out", tree / "cache/taken-in")
    os.rename(tree / "cache/kept", tree / "cache/left-out")
    os.rename(tree / "note.tmp", tree / "note")
    os.rename(tree / "kept", tree / "kept.tmp")


def _move_tree(tree: Path) -> None:
    os.rename(tree / "moved", tree / "moved again")
    os.rename(tree / "large", tree / "moved again/large")
    os.chmod(tree / "moved again/below/large", 0o600)
    os.utime(tree / "meta1", ns=(1, 2))


@pytest.fixture(scope="module")
def inputs(pool: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inputs]:
    made = Inputs(pool, tmp_path_factory.mktemp("inputs"))
    try:
        _grow_tree(made.root / TREE)
        for number in range(FOLDERS):
            folder = made.root / MANY / f"folder{number}"
            folder.mkdir()
            for count in range(FILES):
                (folder / f"f{count}").write_text(f"{number} {count}")
        (made.root / MANY / "moved").mkdir()
        for count in range(MOVED):
            (made.root / MANY / "moved" / f"f{count}").write_text(f"moved {count}")
        with open(made.root / SPARSE / "image", "wb") as file:
            file.truncate(SPARSE_SIZE)
            file.seek(1 << 30)
            file.write(secrets.token_bytes(SPARSE_DATA))
        made.machine.init(*(f"{made.parent}/{name}" for name in (TREE, MANY, SPARSE)), exclude=EXCLUDE)
        made.run("a")
        _change_tree(made.root / TREE)
        for number in range(10):
            for count in range(FILES):
                (made.root / MANY / f"folder{number}/f{count}").write_text(f"changed {number} {count}")
        for number in range(10, 15):
            for count in range(FILES):
                (made.root / MANY / f"folder{number}/f{count}").unlink()
        os.rename(made.root / MANY / "moved", made.root / MANY / "moved to")
        with open(made.root / SPARSE / "image", "r+b") as file:
            file.seek((1 << 30) + 1_234_567)
            file.write(b"!")
        made.run("b")
        _move_tree(made.root / TREE)
        made.run("c", f"{made.parent}/{TREE}")
        yield made
    finally:
        destroy(made.parent)


def _cat(machine: Machine, location: str) -> bytes:
    out = io.TextIOWrapper(io.BytesIO())
    with contextlib.redirect_stdout(out):
        assert invoke(["-c", str(machine.config), "cat", location]) == 0
    assert isinstance(out.buffer, io.BytesIO)
    return out.buffer.getvalue()


@pytest.mark.parametrize(
    ("moment", "without"),
    [
        ("a", {b"cache/left-out", b"cache/left-out/inside", b"cache/left-out/deep",
               b"cache/left-out/deep/inside", b"note.tmp"}),
        ("b", {b"cache/left-out", b"cache/left-out/inside", b"kept.tmp"}),
    ],
)  # fmt: skip
def test_everything_but_what_is_excluded_comes_back(inputs: Inputs, moment: str, without: set[bytes]) -> None:
    assert set(inputs.differences(TREE, moment)) == {f"missing: {path!r}" for path in without}


def test_odd_names_are_listed_and_read(inputs: Inputs) -> None:
    point = inputs.point(TREE, "b")
    for listing, suffix in ((f"{point}:names", b".r"), (f"{inputs.point(TREE, 'a')}:names", b"")):
        listed = {os.fsencode(entry["path"]) for entry in inputs.machine.cli("ls", listing)["entries"]}
        assert listed == {b"names/" + name + suffix for name in ODD}
    changed = os.fsdecode(b"names/inv\xff\xfe.r/inv\xff\xfe")
    assert _cat(inputs.machine, f"{point}:{changed}") == b"inv\xff\xfe changed"
    assert _cat(inputs.machine, f"{inputs.point(TREE, 'a')}:names/new\nline/new\nline") == b"new\nline"


def test_one_byte_of_four_gigabytes_is_one_small_upload(inputs: Inputs) -> None:
    report = inputs.reports[SPARSE, "b"]
    assert report["uploaded_bytes"] < 100_000
    assert report["modified"] == 1
    assert report["read_bytes"] < 20 << 20


def test_a_sparse_file_keeps_its_holes(inputs: Inputs) -> None:
    assert inputs.differences(SPARSE, "b") == []
    assert os.stat(inputs.restored(SPARSE, "b") / "image").st_blocks * 512 < 2 * SPARSE_DATA


def test_many_files_cost_what_changed(inputs: Inputs) -> None:
    base, report = inputs.reports[MANY, "a"], inputs.reports[MANY, "b"]
    assert base["files_total"] == FOLDERS * FILES + MOVED
    assert (report["created"], report["modified"]) == (0, 1000)
    assert (report["names_added"], report["names_removed"]) == (1, 501)
    assert report["changed_bytes"] == sum(
        len(f"changed {number} {count}") for number in range(10) for count in range(FILES)
    )
    assert report["uploaded_bytes"] < 100_000


def test_many_files_come_back(inputs: Inputs) -> None:
    assert inputs.differences(MANY, "b") == []


def test_dry_run_writes_nothing(inputs: Inputs) -> None:
    target = inputs.root / "restored/dry"
    report = inputs.machine.restore(inputs.point(TREE, "b"), target, "--dry-run")
    assert not target.exists()
    assert report["files"] == sum(path.is_file() for path in inputs.restored(TREE, "b").rglob("*"))


def test_file_and_directory_alone(inputs: Inputs) -> None:
    point, snapshot = inputs.point(TREE, "b"), inputs.snapshot(TREE, "b")
    target = inputs.root / "restored/parts"
    inputs.machine.restore(f"{point}:moved/below", target)
    inputs.machine.restore(f"{point}:meta3", target)
    assert sorted(os.listdir(target)) == ["below", "meta3"]
    assert differences(str(snapshot / "moved/below"), str(target / "below")) == []
    assert (target / "meta3").read_bytes() == (snapshot / "meta3").read_bytes()
    assert os.getxattr(target / "meta3", "user.note") == b"v3"
    acl = "system.posix_acl_access"
    assert os.getxattr(target / "meta3", acl) == os.getxattr(snapshot / "meta3", acl)


def test_in_place_spares_what_it_is_told_to(inputs: Inputs) -> None:
    tree, snapshot, point = inputs.root / TREE, inputs.snapshot(TREE, "b"), inputs.point(TREE, "b")
    good = (snapshot / "meta5").read_bytes()
    before = os.stat(snapshot / "meta5")

    def restored(how: str, bad: bytes, mtime_ns: int) -> bytes:
        (tree / "meta5").write_bytes(bad)
        os.utime(tree / "meta5", ns=(mtime_ns, mtime_ns))
        inputs.machine.cli("restore", f"{point}:meta5", "--in-place", "--overwrite", how)
        return (tree / "meta5").read_bytes()

    same_size = bytes(len(good))
    assert restored("never", b"spoilt", 5) == b"spoilt"
    assert restored("changed", b"spoilt", 5) == good
    assert restored("changed", same_size, before.st_mtime_ns) == same_size
    assert restored("always", same_size, before.st_mtime_ns) == good


def test_moves_and_metadata_upload_no_content(inputs: Inputs) -> None:
    report = inputs.reports[TREE, "c"]
    assert (report["changed_bytes"], report["uploaded_bytes"]) == (0, 0)
    assert (report["created"], report["modified"]) == (0, 0)


@pytest.mark.parametrize("version", ["0.18", "0.19"])
def test_a_second_base_reads_only_what_changed(
    inputs: Inputs, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    restic = Path(os.environ["ZDIFFSYNC_CACHE"], "restic", version)
    assert (restic / "restic").exists()
    monkeypatch.setenv("PATH", str(restic), prepend=":")
    tree = inputs.root / TREE
    (tree / "meta9").write_bytes(secrets.token_bytes(5000))
    inputs.run(f"base-{version}", "--base", f"{inputs.parent}/{TREE}")
    inputs.run(f"again-{version}", "--base", f"{inputs.parent}/{TREE}")
    report = inputs.reports[TREE, f"again-{version}"]
    assert (report["kind"], report["reason"]) == ("base", "asked for")
    assert report["bytes_total"] > 5_000_000
    assert report["read_bytes"] < 1000
    wrong = inputs.differences(TREE, f"again-{version}")
    assert all(line.startswith("missing: b'cache/left-out") or "kept.tmp" in line for line in wrong)


def test_an_old_restic_is_refused(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    restic = Path(os.environ["ZDIFFSYNC_CACHE"], "restic", "0.14")
    assert shutil.which("restic", path=str(restic))
    monkeypatch.setenv("PATH", str(restic), prepend=":")
    report = inputs.machine.run("--base", f"{inputs.parent}/{TREE}", expect=4)
    assert "install 0.18" in str(report)
