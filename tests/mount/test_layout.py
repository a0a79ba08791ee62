"""What stands above the points: datasets as directories, points by their local time."""

import os
import time

import pytest

from zdiffsync.catalog.catalog import Point, Root
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.mount.items import Item, own_inode, point_inode
from zdiffsync.mount.layout import LayoutMaker, point_names

TOP = 1
ENTRY = Entry(EntryType.DIRECTORY, 0o750, 5, 6, 77)


@pytest.fixture(autouse=True)
def berlin(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def point(number, dataset="tank/data", seconds=None):
    seconds = 1_764_000_000 + 3600 * number if seconds is None else seconds
    return Point(
        id=number, key=f"{number:016x}", chain="c" * 16, chain_id=1, first=number,
        sequence=number, revision=0, dataset=dataset, dataset_guid=1, host="h",
        snapshot=f"{dataset}@{number}", guid=1, createtxg=1,
        created_ns=seconds * 10**9 + 123, restic="r", base_ns=1, excludes="e",
        tags=(), keep=False, stats={},
    )  # fmt: skip


def open_versions(dataset, points):
    return Item(own_inode(b"versions", dataset.encode()), points[-1].dataset)


def maker():
    return LayoutMaker(
        TOP, lambda found, root: Item(point_inode(found.id, root.zfs_object), root.entry), open_versions
    )


def layout(*points, by=None):
    return (by or maker()).make(points, {item.id: Root(1, 34, ENTRY) for item in points})


def names(item):
    return list(item.folder.load())


def at(found, *path):
    item = found.top
    for name in path:
        item = item.folder.load()[name]
    return item


def test_a_point_is_named_by_its_local_time():
    found = layout(point(0), point(1))
    assert names(at(found)) == [b"tank"]
    assert names(at(found, b"tank")) == [b"data"]
    assert names(at(found, b"tank", b"data")) == [b"2025-11-24_17-00-00", b"2025-11-24_18-00-00", b"latest"]
    assert at(found, b"tank", b"data", b"latest").entry.target == b"2025-11-24_18-00-00"
    assert at(found, b"tank", b"data", b"2025-11-24_17-00-00").entry == ENTRY


def test_versions_are_there_but_not_listed():
    data = at(layout(point(0)), b"tank", b"data")
    assert b".versions" not in names(data)
    assert list(data.folder.hidden) == [b".versions"]


def test_twins_are_told_apart():
    autumn = 1_761_438_600  # 2:30 in Berlin, an hour before it is 2:30 again
    found = point_names([point(0xABCDEF1, seconds=autumn), point(0x2, seconds=autumn + 3600)])
    assert list(found) == [b"2025-10-26_02-30-00", b"2025-10-26_02-30-00_000000"]


def test_a_child_dataset_stands_beside_the_points_of_its_parent():
    found = layout(point(0), point(1, "tank/data/child"), point(2, "other"), point(3, "tank/data/child/deep"))
    assert names(at(found)) == [b"other", b"tank"]
    assert names(at(found, b"tank", b"data")) == [b"2025-11-24_17-00-00", b"child", b"latest"]
    assert names(at(found, b"tank", b"data", b"child")) == [b"2025-11-24_18-00-00", b"deep", b"latest"]
    assert b"latest" not in names(at(found, b"tank"))


def test_a_child_dataset_goes_before_what_has_its_name():
    found = layout(point(0), point(1, "tank/data/latest"))
    assert at(found, b"tank", b"data", b"latest").entry.type is EntryType.DIRECTORY


def test_a_directory_is_as_new_as_the_newest_below():
    found = layout(point(5), point(9, "tank/data/child"), point(7, "tank/b"))
    assert at(found).entry.mtime_ns == point(9).created_ns
    assert at(found, b"tank", b"b").entry.mtime_ns == point(7).created_ns


def test_it_belongs_to_who_mounts():
    entry = at(layout(point(0)), b"tank").entry
    assert (entry.mode, entry.uid, entry.gid) == (0o555, os.geteuid(), os.getegid())


def test_numbers_are_the_same_in_every_mount_and_all_different():
    one, other = (layout(point(0), point(1), point(2, "tank/data/child")) for _ in range(2))
    assert one.items.keys() == other.items.keys()
    assert len(one.items) == 4 + 3 + 2 + 2  # directories, points, `latest`, `.versions`
    assert all(0 < number < 1 << 63 for number in one.items)


def test_numbers_of_points_and_directories_never_meet():
    assert point_inode((1 << 18) - 1, (1 << 44) - 1) < own_inode(b"a") < 1 << 63
    assert point_inode(1, 7) != point_inode(2, 7)


def test_points_are_opened_once_whatever_comes_and_goes():
    opened = []

    def open_point(found, root):
        opened.append(found.id)
        return Item(point_inode(found.id, root.zfs_object), root.entry)

    by = LayoutMaker(TOP, open_point, open_versions)
    layout(point(0), point(1), by=by)
    layout(point(1), point(2), by=by)
    assert opened == [0, 1, 2]
    layout(point(0), by=by)
    assert opened == [0, 1, 2, 0]


def test_without_points_there_is_an_empty_directory():
    assert names(at(layout())) == []
