"""Send streams built byte by byte from struct dmu_replay_record, and read for what they touch."""

import io
import stat
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from send_streams import DELETE_QUEUE, DIRECTORY, END_OF_FILE, FILE, MAGIC, MASTER_NODE, Writer, znode
from zdiffsync.errors import IntegrityError
from zdiffsync.format.send_stream import StreamObject, read_objects

ORDERS = pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])


def read(writer_or_bytes):
    data = writer_or_bytes if isinstance(writer_or_bytes, bytes) else writer_or_bytes.data
    return list(read_objects(io.BytesIO(data)))


@ORDERS
def test_every_record_type(order):
    writer = Writer(order).begin(features=1 << 20, payload=bytes(96)).object_range(0, 32)
    writer.object(1, MASTER_NODE).write(1, 0, 512, kind=MASTER_NODE)
    writer.object(34, DIRECTORY, znode(order, mode=stat.S_IFDIR | 0o755, links=4, ctime=(1795426656, 35)))
    writer.free(34, 512, END_OF_FILE).write(34, 0, 512, kind=DIRECTORY)
    writer.freeobjects(35, 93)
    writer.object(128, FILE, znode(order, size=400_000, generation=99, links=2)).free(
        128, 524288, END_OF_FILE
    )
    writer.write(128, 0, 131072, compressed=4096).write(128, 131072, 131072).embedded(128, 262144, 131072, 61)
    writer.free(128, 393216, 131072).spill(128, 512)
    writer.object(129, FILE, znode(order)).spill(129, 512, compressed=160, unmodified=True)
    writer.freeobjects(130, 1 << 50).end()
    master, root, large, same = read(writer)
    assert master == StreamObject(1, directory=False, nameless=True, written=True, ranges=[(0, 512)])
    assert root == StreamObject(
        34, directory=True, written=True, ranges=[(0, 512)], tail=512, ctime_ns=1795426656_000000035, links=4,
        generation=7, parent=34,
    )  # fmt: skip
    assert large == StreamObject(
        128, directory=False, written=True, holed=True, ranges=[(0, 524288)], tail=524288, ctime_ns=0,
        links=2, generation=99, parent=34, file_size=400_000,
    )  # fmt: skip
    assert same == StreamObject(129, directory=False, ctime_ns=0, links=1, generation=7, parent=34)


@ORDERS
def test_ranges_join_only_where_they_touch(order):
    writer = Writer(order).begin().object(2, bonus=znode(order, size=1 << 40))
    for offset in (0, 4096, 12288, 16384, 1 << 39):
        writer.write(2, offset, 4096)
    (item,) = read(writer.end())
    assert item.ranges == [(0, 8192), (12288, 20480), (1 << 39, (1 << 39) + 4096)]
    assert (item.tail, item.holed) == (None, False)


def test_a_hole_behind_the_end_of_the_file_is_no_hole():
    writer = Writer().begin().object(2, bonus=znode(size=4096)).free(2, 4096, 8192).end()
    assert [(item.holed, item.written, item.ranges) for item in read(writer)] == [
        (False, False, [(4096, 12288)])
    ]


def test_what_a_spill_says():
    writer = Writer().begin().object(2, bonus=znode()).spill(2, 512).object(3, bonus=znode())
    writer.spill(3, 512, unmodified=True).end()
    assert [item.written for item in read(writer)] == [True, False]


def test_the_znode_is_found_behind_a_longer_header():
    writer = Writer().begin().object(2, bonus=znode(header=24, generation=5, links=3, ctime=(1, 2))).end()
    (item,) = read(writer)
    assert (item.generation, item.links, item.ctime_ns) == (5, 3, 1_000_000_002)


@pytest.mark.parametrize(
    "bonus",
    [b"", b"\0" * 264, znode()[:-8], znode()[:7], struct.pack("<IH", 0x2F505A, 63 << 10) + bytes(200)],
)
def test_a_znode_that_cannot_be_read_leaves_all_unknown(bonus):
    (item,) = read(Writer().begin().object(2, bonus=bonus).write(2, 0, 512).end())
    assert (item.generation, item.links, item.ctime_ns, item.nameless) == (None, None, None, False)
    assert item.written


def test_a_mode_of_more_bits_than_any_has_is_read_all_the_same():
    (item,) = read(Writer().begin().object(2, bonus=znode(mode=1 << 63 | stat.S_IFREG, size=9)).end())
    assert item.file_size == 9


def test_raw_sends_have_a_bonus_of_their_own_length():
    writer = Writer().begin().object(2, bonus=znode(), raw=320, payload=bytes(320)).end()
    assert [item.number for item in read(writer)] == [2]


def test_objects_of_the_file_system_itself_have_no_name():
    writer = Writer().begin().object(1, MASTER_NODE).object(3, DELETE_QUEUE)
    writer.object(9, DIRECTORY, znode(mode=stat.S_IFDIR, flags=1)).object(10, FILE, znode(flags=0x40)).end()
    assert [item.nameless for item in read(writer)] == [True, True, True, False]


def test_writes_to_another_object_are_not_taken_for_the_current_one():
    writer = Writer().begin().object(2, bonus=znode()).write(3, 0, 512).free(3, 0, END_OF_FILE).end()
    (item,) = read(writer)
    assert (item.written, item.ranges, item.tail) == (False, [], None)


def test_an_empty_stream():
    assert read(Writer().begin().end()) == []


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (Writer().begin(header=2).end(), "compound"),
        (Writer().begin(header=3).end(), "compound"),
        (Writer().begin(header=0).end(), "compound"),
        (Writer().begin(objset=3).end(), "not of a file system"),
        (Writer().begin(magic=MAGIC + 1).end(), "not a zfs send stream"),
        (Writer().end().begin(), "not a zfs send stream"),
        (Writer().begin().record(6, {}).end(), "unknown type 6"),
        (Writer().begin().record(10, {8: ("Q", 2)}).end(), "unknown type 10"),
        (Writer().begin().begin().end(), "unknown type 0"),
        (Writer().begin().record(2**32 - 1, {}).end(), "unknown type 4294967295"),
        (Writer().begin().record(3, {8: ("Q", 2), 32: ("Q", 1 << 60)}).end(), "payload of 11529215046"),
        (Writer().begin().record(1, {8: ("Q", 2), 36: ("I", 2**32 - 1)}).end(), "payload of 4294967295"),
        (Writer().begin().record(7, {40: ("Q", 1 << 40)}).end(), "payload of 1099511627776"),
        (Writer().begin().record(8, {52: ("I", 2**32 - 1)}).end(), "payload of 4294967296"),
    ],
)  # fmt: skip
def test_refused(stream, words):
    with pytest.raises(IntegrityError, match=words):
        read(stream)


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 311, b"\0" * 312, b"\xff" * 312, b"warning: cannot send\n" * 20]
)
def test_no_stream_at_all(data):
    with pytest.raises(IntegrityError):
        read(data)


def sample():
    writer = Writer().begin(payload=bytes(96)).object_range(0, 32).object(2, bonus=znode(size=9000, links=2))
    writer.free(2, 16384, END_OF_FILE).write(2, 0, 1024).write(2, 8192, 4096, compressed=512)
    return writer.embedded(2, 4096, 4096, 50).spill(2, 512).freeobjects(3, 9).end()


def test_cut_at_and_around_every_record_and_payload():
    parts = sample().parts
    edges = {sum(map(len, parts[:count])) for count in range(len(parts))}
    whole = len(sample().data)
    cuts = {edge + shift for edge in edges for shift in (-1, 0, 1, 4, 100)}
    for cut in sorted(cut for cut in cuts if 0 <= cut < whole):
        with pytest.raises(IntegrityError, match=r"ended early|not a zfs send stream"):
            read(sample().data[:cut])


class Trickle(io.RawIOBase):
    """A pipe that gives a few bytes a read."""

    def __init__(self, data):
        self._inner = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._inner.readinto(memoryview(buffer)[:7])


def test_short_reads_of_a_pipe_do_not_matter():
    assert list(read_objects(io.BufferedReader(Trickle(sample().data)))) == read(sample())


def test_bytes_behind_the_end_are_left_unread():
    stream = io.BytesIO(sample().data + b"next")
    assert len(list(read_objects(stream))) == 1
    assert stream.read() == b"next"


@given(st.binary(max_size=2000))
def test_noise_behind_a_good_beginning(noise):
    try:
        read(Writer().begin().data + noise)
    except IntegrityError:
        return
    assert noise[:4] == b"\x05\0\0\0"
