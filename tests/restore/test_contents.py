"""Contents that are not what their records say: refused, at the price of what the records say."""

import hashlib
import os
import tracemalloc

import pytest

from zdiffsync.errors import IntegrityError
from zdiffsync.format.manifest import ContentRecord
from zdiffsync.format.manifest_values import MAX_DEPTH
from zdiffsync.format.windows import BlobRef
from zdiffsync.format.zstd import compress
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.restore.contents import ContentReader, MemorySource, WholeContent
from zdiffsync.restore.write import write_file

BLOB = BlobRef("ab" * 16, 8, 100)


def record(size, data, number=1, **more):
    digest = hashlib.sha256(data).hexdigest()
    return ContentRecord(number, size, digest, False, BLOB, {BLOB.pack: 100}, **more)


def test_a_frame_that_unpacks_to_more_than_the_file_had():
    bomb = compress(bytes(1 << 30))
    content = WholeContent(record(1000, bytes(1000)), lambda _blob: bomb)
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError, match="more than the 1000 bytes it may"):
            content.read(0, 1000)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_frame_that_unpacks_to_less_than_the_file_had():
    """Even where the digest is that of what is there: whoever reads it would wait for the rest for ever."""
    content = WholeContent(record(1000, b"short"), lambda _blob: compress(b"short"))
    with pytest.raises(IntegrityError, match="does not match its digest"):
        content.read(0, 1000)


def test_a_source_that_ends_early_does_not_keep_the_writer_waiting(tmp_path):
    class Ending(MemorySource):
        size = 5000

    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(IntegrityError, match="ends at byte 70 of 5000"):
            write_file(
                directory, b"f", Ending(b"x" * 70), None, Entry(EntryType.FILE, 0o600, 0, 0, 0, 5000),
                progress=lambda _done: None, finish=lambda _fd: None,
            )  # fmt: skip
    finally:
        os.close(directory)


@pytest.mark.parametrize("source", [lambda number: number, lambda number: number - 1])
def test_deltas_upon_deltas_come_to_an_end(source):
    class View:
        def content(self, number):
            return record(5, b"12345", number, source=source(number))

    with pytest.raises(IntegrityError, match=f"a delta of more than {MAX_DEPTH} others"):
        ContentReader(View(), None, None).records(10_000)
