"""Restoring from a real repository: right bytes from wherever they come, and no more fetched than told."""

import gc
import os
import shutil
import subprocess
from contextlib import suppress

import pytest

from oracle import differences
from zdiffsync.errors import RemoteError, UsageError
from zdiffsync.restore.overwrite import Overwrite
from zdiffsync.restore.plan import Item

MIB = 1 << 20
BLOCK = 512 << 10  # what the object cache fetches at once


def expected(world, sequence):
    return world.expected / world.points[sequence]


@pytest.mark.parametrize("sequence", range(4))
def test_every_point_comes_back_from_the_remote_as_planned(world, restores, tmp_path, sequence):
    plan, report = restores.restore(sequence, tmp_path / "to")
    assert differences(expected(world, sequence), tmp_path / "to") == []
    assert (report.failed, report.kept, report.local, report.refused) == ([], 0, 0, 0)
    assert (plan.files, plan.directories, plan.others, plan.size) == (
        report.files, report.directories, report.others, report.bytes_restored,
    )  # fmt: skip
    assert plan.download - plan.base_bytes == plan.pack_bytes
    assert report.downloaded <= plan.download
    assert report.downloaded >= plan.download - BLOCK * plan.base_objects  # a pack's last block is shorter


@pytest.mark.parametrize("sequence", range(4))
def test_the_points_own_snapshot_spares_the_download(world, restores, tmp_path, sequence):
    restores.snapshot(sequence)
    plan, report = restores.restore(sequence, tmp_path / "to")
    assert differences(expected(world, sequence), tmp_path / "to") == []
    assert plan.local == plan.size == report.local
    assert plan.download == 0
    assert report.downloaded <= 2 * BLOCK  # op tables
    assert report.refused == 0


@pytest.mark.parametrize("sequence", range(4))
def test_what_another_points_snapshot_has_is_taken_from_there(world, restores, tmp_path, sequence):
    restores.snapshot(3)
    plan, report = restores.restore(sequence, tmp_path / "to")
    assert differences(expected(world, sequence), tmp_path / "to") == []
    assert report.refused == 0
    assert report.local == plan.local > 40 * MIB  # all but the image is as it was
    if sequence == 1:
        with restores.opened() as restorer:  # renamed since
            assert restorer.plan(restores.request(1, tmp_path / "new", b"docs/deep/kept")).local == 5


@pytest.mark.parametrize("damage", ["flipped bytes", "zeros", "cut while reading"])
def test_a_snapshot_that_is_not_what_was_backed_up_is_made_up_for(world, restores, tmp_path, damage):
    """Same size and time, other bytes: as a store to a mapped file leaves them, or a failing disk."""
    wrong = tmp_path / "wrong"
    subprocess.run(["cp", "-a", expected(world, 3), wrong], check=True)
    for name, offset in (("image", 3 * MIB), ("image", 11 * MIB), ("docs/letter", 5), ("many/large 3", 7)):
        with (wrong / name).open("r+b") as file:
            before = os.fstat(file.fileno())
            file.seek(offset)
            file.write(b"WRONG" if damage == "flipped bytes" else bytes(5000))
            file.truncate(before.st_size)
        os.utime(wrong / name, ns=(before.st_atime_ns, before.st_mtime_ns))
    restores.snapshot(3, wrong)
    if damage == "cut while reading":
        shutil.rmtree(wrong / "many")
    _plan, report = restores.restore(3, tmp_path / "to")
    assert differences(expected(world, 3), tmp_path / "to") == []
    assert report.refused >= 3
    assert report.failed == []
    assert 0 < report.downloaded < 8 * MIB + len(os.listdir(expected(world, 3) / "many")) * BLOCK


def test_without_local_the_snapshot_is_left_alone(world, restores, tmp_path):
    restores.snapshot(3)
    _plan, report = restores.restore(3, tmp_path / "to", local=False)
    assert report.local == 0
    assert report.downloaded > 15 * MIB
    assert differences(expected(world, 3), tmp_path / "to") == []


def test_many_paths_and_what_is_there_is_neither_touched_nor_fetched(world, restores, tmp_path):
    target = tmp_path / "to"
    paths = (b"docs/letter", b"image", b"many", b"inv\xff\nname")
    plan, report = restores.restore(2, target, *paths)
    assert report.failed == []
    assert sorted(os.listdir(os.fsencode(target))) == [b"image", b"inv\xff\nname", b"letter", b"many"]
    for path in paths:
        name = path.rpartition(b"/")[2]
        subprocess.run(
            ["diff", "-r", os.fsencode(expected(world, 2)) + b"/" + path, os.fsencode(target) + b"/" + name],
            check=True,
        )
    (target / "letter").write_bytes(b"mine")
    again, report = restores.restore(2, target, *paths)
    assert (again.kept, again.files, again.download) == (plan.files, 0, 0)
    assert (report.kept, report.files, report.downloaded) == (plan.files, 0, 0)
    assert (target / "letter").read_bytes() == b"mine"
    changed, report = restores.restore(2, target, *paths, overwrite=Overwrite.CHANGED)
    assert (changed.files, report.files) == (1, 1)
    assert (target / "letter").read_bytes() == b"dear all\n" * 100


def test_a_file_deep_in_a_place_that_is_gone_gets_its_directories_back(world, restores, tmp_path):
    target = tmp_path / "to"
    item = Item(b"docs/deep/er/note", b"docs/deep/er", b"note")
    restores.restore(1, target, items=[item])
    for path in ("docs", "docs/deep", "docs/deep/er", "docs/deep/er/note"):
        have, want = os.lstat(target / path), os.lstat(expected(world, 1) / path)
        assert (have.st_mode, have.st_uid, have.st_mtime_ns) == (want.st_mode, want.st_uid, want.st_mtime_ns)
    assert os.getxattr(target / "docs", "user.colour") == b"\x00\xffgreen"
    assert os.listdir(target / "docs") == ["deep"]


def test_a_path_that_is_not_there_and_a_file_that_is_to_fill_a_directory(restores, tmp_path):
    with restores.opened() as restorer:
        with pytest.raises(UsageError, match="has no 'docs/nothing'; see zdiffsync ls"):
            restorer.plan(restores.request(1, tmp_path / "to", b"docs/nothing"))
        with pytest.raises(UsageError, match="not a directory, so it cannot fill one"):
            restorer.plan(restores.request(1, tmp_path / "to", items=[Item(b"image", b"", None)]))
    assert not (tmp_path / "to").exists()


class GivesUp:
    """An area whose remote goes away after so many bytes."""

    def __init__(self, area, left):
        self.area, self.left = area, left

    def read(self, name, offset, length):
        self.left -= length
        if self.left < 0:
            raise RemoteError("the remote is gone")
        return self.area.read(name, offset, length)


def test_a_remote_that_goes_away_stops_the_restore_and_the_next_goes_on(world, restores, tmp_path):
    restores.wrap = lambda area: GivesUp(area, 4 * MIB)
    with pytest.raises(RemoteError, match="the remote is gone; run the same command again"):
        restores.restore(2, tmp_path / "to")
    restores.wrap = lambda area: area
    plan, report = restores.restore(2, tmp_path / "to")
    assert (plan.resumed, report.resumed) == (True, True)
    assert plan.fetched + plan.kept > 0
    assert differences(expected(world, 2), tmp_path / "to") == []
    packs = 8 * 900_000
    assert report.downloaded < plan.base_bytes * 1.2 + packs - 3 * MIB + BLOCK * (1 + plan.base_objects)
    assert not [name for name in os.listdir(tmp_path / "to") if name.startswith(".zdiffsync")]


def test_no_snapshot_stays_open_after_a_restore(world, restores, tmp_path):
    """Or the next run could not destroy it."""
    place = restores.snapshot(2) or world.expected / world.points[2]
    gc.disable()
    try:
        _, report = restores.restore(2, tmp_path / "to")
        assert report.local > 0
        opened = []
        for fd in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                opened.append(os.readlink(f"/proc/self/fd/{fd}"))
    finally:
        gc.enable()
    assert [path for path in opened if path.startswith(os.fspath(place))] == []
