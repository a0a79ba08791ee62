"""Large files: begun, left, gone on with; and holes."""

import os
import random

import pytest

from zdiffsync.errors import RemoteError
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.restore import write
from zdiffsync.restore.contents import MemorySource

STEP, FORCED, SIZE = 4 << 20, 12 << 20, (26 << 20) + 77
DATA = random.Random(1).randbytes(SIZE)


class Breaking(MemorySource):
    """Gives up at an offset; counts what it is asked for."""

    def __init__(self, data, end):
        super().__init__(data)
        self.end, self.asked = end, []

    def read(self, offset, length):
        self.asked.append(offset)
        if offset >= self.end:
            raise RemoteError("gone")
        return super().read(offset, length)


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Write a source to `file`; return what was reported as done."""
    monkeypatch.setattr(write, "_STEP", STEP)
    monkeypatch.setattr(write, "_FORCED", FORCED)
    directory = os.open(tmp_path, os.O_RDONLY)

    def make(source):
        entry = Entry(EntryType.FILE, 0o600, 0, 0, 0, source.size)
        done = []
        write.write_file(
            directory, b"file", source, None, entry, progress=done.append, finish=lambda _fd: None
        )
        return done

    yield make
    os.close(directory)


@pytest.mark.parametrize(("rebooted", "begun"), [(False, 20 << 20), (True, 12 << 20)])
def test_a_large_file_goes_on_where_it_was_left(make, tmp_path, monkeypatch, rebooted, begun):
    with pytest.raises(RemoteError):
        make(Breaking(DATA, 20 << 20))
    if rebooted:
        monkeypatch.setattr(write, "boot", lambda: "another")
    source = Breaking(DATA, SIZE)
    done = make(source)
    assert min(source.asked) == begun == done[0]
    assert sum(done) == SIZE
    assert (tmp_path / "file").read_bytes() == DATA
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("note", [b"", b"12", b"12 12 "])
def test_a_note_that_is_not_whole_is_not_believed(make, tmp_path, note):
    (tmp_path / "file").write_bytes(b"\xff" * 100)
    (tmp_path / "file.done").write_bytes(note)
    assert sum(make(MemorySource(DATA))) == SIZE
    assert (tmp_path / "file").read_bytes() == DATA


@pytest.mark.parametrize("size", [1, 4095, 64 << 10, (64 << 10) + 1, 5 << 20])
def test_zeros_are_holes(make, tmp_path, size):
    make(MemorySource(bytes(size)))
    info = (tmp_path / "file").stat()
    assert info.st_size == size
    assert info.st_blocks <= 8
    (tmp_path / "file").unlink()
    mixed = bytes(128 << 10) + b"x" + bytes(size)
    make(MemorySource(mixed))
    assert (tmp_path / "file").read_bytes() == mixed
    assert (tmp_path / "file").stat().st_blocks * 512 <= 128 << 10


def test_what_a_full_disk_takes_a_part_of_is_not_taken_for_all(make, tmp_path, monkeypatch):
    """Seen in the faults: 4,096 of 5,000 bytes were written without an error, and passed for the whole."""
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:4096], offset))
    make(MemorySource(DATA[:5000]))
    assert (tmp_path / "file").read_bytes() == DATA[:5000]
