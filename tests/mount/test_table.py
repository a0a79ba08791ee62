"""What the kernel knows is found again, forgotten when it forgets, and bounded."""

import sys
import tracemalloc

import pytest

from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.mount.items import Folder, Item
from zdiffsync.mount.table import InodeTable, release

FILE = Entry(EntryType.FILE, 0o644, 0, 0, 0)
DIRECTORY = Entry(EntryType.DIRECTORY, 0o755, 0, 0, 0)


class Directory(Folder):
    place = "there"

    def load(self):
        return {}


TOP = Directory(1)


def file(number):
    return Item(number, FILE)


def test_a_name_is_found_until_it_is_forgotten():
    table = InodeTable()
    table.remember(TOP, b"a", file(5))
    table.remember(TOP, b"a too", file(5))
    assert table.where(5) == (TOP, b"a")
    release(table, [(5, 1), (6, 9)])
    assert table.where(5) == (TOP, b"a")
    release(table, [(5, 1)])
    assert table.where(5) is None
    assert not len(table)


def test_a_directory_keeps_its_folder():
    table, first, second = InodeTable(), Directory(7), Directory(7)
    table.remember(TOP, b"d", Item(7, DIRECTORY, folder=first))
    table.remember(TOP, b"d", Item(7, DIRECTORY, folder=second))  # its parent has been loaded again
    assert table.folder(7) is first


def fill(table, count, start=10):
    for number in range(start, start + count):
        table.remember(TOP, b"%d" % number, file(number))


def test_the_oldest_files_are_to_be_given_up_first():
    table = InodeTable(limit=100)
    table.remember(TOP, b"d", Item(7, DIRECTORY, folder=Directory(7)))
    fill(table, 99)
    assert table.surplus() == []
    fill(table, 50_000, start=1000)
    given_up = table.surplus()
    assert given_up[:2] == [(1, b"10"), (1, b"11")]
    assert (1, b"d") not in given_up
    assert len(table) - len(given_up) <= 100
    release(table, [(int(name), 1) for _, name in given_up])
    assert len(table) == 100
    assert table.where(7)


def test_what_the_kernel_keeps_is_not_asked_for_all_the_time():
    table = InodeTable(limit=100)
    fill(table, 20_000)
    assert table.surplus()
    assert sum(bool(table.surplus()) for _ in range(1000)) <= 1


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="measures CPython's memory")
def test_a_note_is_small():
    table = InodeTable()
    items = [file(number << 44) for number in range(1, 50_001)]
    names = [b"some file name %d" % number for number in range(50_000)]
    tracemalloc.start()
    for name, item in zip(names, items, strict=True):
        table.remember(TOP, name, item)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert used / 50_000 < 200
