"""Stored contents, damaged: op tables, payloads and zstd frames give the right bytes or one of our errors."""

import random
import resource
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutations import fuzz, mutated, refused
from zdiffsync.errors import IntegrityError
from zdiffsync.format.delta_encode import encode_windows
from zdiffsync.format.delta_patch import apply_patch, make_patch
from zdiffsync.format.delta_policy import DeltaPolicy
from zdiffsync.format.delta_pool import DeltaPool
from zdiffsync.format.delta_reader import WindowedReader
from zdiffsync.format.delta_table import decode_windows
from zdiffsync.format.delta_varint import put_uint
from zdiffsync.format.delta_window import WindowPacker
from zdiffsync.format.windows import BlobRef, OpKind
from zdiffsync.format.zstd import compress, compress_prefixed, decompress, decompress_prefixed
from zdiffsync.restore.contents import MemorySource

PACK = "ab" * 16
RNG = random.Random(5)
OLD = RNG.randbytes(70_000) + bytes(200_000) + b"text, " * 3000
NEW = OLD[:1000] + b"changed" + OLD[1000:60_000] + bytes(80_000) + OLD[60_000:] + RNG.randbytes(20_000)
LEAST = DeltaPolicy(window=64 << 10, whole_window=64 << 10, cpu_price=0.0)


class Sink:
    def __init__(self):
        self.payloads = {}
        self.end = 8

    def put(self, payload):
        blob = BlobRef(PACK, self.end, len(payload))
        self.payloads[blob] = payload
        self.end += len(payload)
        return blob


def _encoded(old):
    sink = Sink()
    with DeltaPool(1) as pool:
        encoded = encode_windows(
            MemorySource(NEW), old and MemorySource(old), sink, extents=None, data_ranges=None, pool=pool,
            policy=LEAST, progress=lambda _done: None,
        )  # fmt: skip
    return encoded.table, sink.payloads


DELTA, PAYLOADS = _encoded(OLD)
WHOLE, WHOLE_PAYLOADS = _encoded(None)


def _unframed(table):
    at = 1
    while table[at] >> 7:
        at += 1
    return decompress(table[at + 1 :], 1 << 24)


def _framed(body):
    head = bytearray([1])
    put_uint(head, len(body))
    return bytes(head) + compress(body)


@contextmanager
def memory(most):
    """Let the process take `most` bytes more than it has."""
    with open("/proc/self/statm", encoding="ascii") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def read_whole(reader):
    parts = []
    for at in range(0, reader.size, 50_000):
        wanted = min(50_000, reader.size - at)
        parts.append(reader.read(at, wanted))
        assert len(parts[-1]) == wanted
    return b"".join(parts)


@fuzz("op table")
@given(mutated(DELTA, WHOLE))
def test_a_table_is_consistent_or_refused(data):
    return refused(lambda: consistent(decode_windows(data)))


@fuzz("op table, framed anew")
@given(mutated(_unframed(DELTA), _unframed(WHOLE)))
def test_a_table_that_zstd_finds_whole_is_consistent_or_refused(body):
    return refused(lambda: consistent(decode_windows(_framed(body))))


def consistent(table):
    at = 0
    for number, op in enumerate(table):
        assert table.start(number) == at
        assert op.length > 0
        assert 0 <= op.old_offset <= op.old_offset + op.old_length <= (table.old_size or 0)
        assert (op.payload is not None) == op.kind.has_payload
        at += op.length
    assert at == table.size


@fuzz("delta reader")
@given(mutated(_unframed(DELTA), most=2), st.integers(1, 16))
def test_a_delta_by_a_damaged_table_has_its_size_or_is_refused(body, times):
    def read():
        with memory(1 << 30):
            reader = WindowedReader(_framed(body), MemorySource(OLD), PAYLOADS.__getitem__)
            for at in range(0, min(reader.size, times * 50_000), 50_000):
                wanted = min(50_000, reader.size - at)
                assert len(reader.read(at, wanted)) == wanted

    try:
        return refused(read)
    except KeyError:  # a blob nobody has; the remote would say so
        return True


@fuzz("delta payloads", 60)
@given(st.data())
def test_damaged_payloads_give_the_right_bytes_or_none(data):
    table, payloads = data.draw(st.sampled_from([(DELTA, PAYLOADS), (WHOLE, WHOLE_PAYLOADS)]))
    blob = data.draw(st.sampled_from(sorted(payloads, key=lambda blob: blob.offset)))
    damaged = payloads | {blob: data.draw(mutated(payloads[blob]))}
    try:
        reader = WindowedReader(table, MemorySource(OLD), damaged.__getitem__)
        assert read_whole(reader) == NEW
    except IntegrityError:
        return True
    return False


PATCH = make_patch(OLD[:5000], NEW[:5000])


@fuzz("patch")
@given(mutated(PATCH), st.just(5000) | st.integers(0, 20_000))
def test_a_patch_makes_what_it_says_or_is_refused(payload, length):
    return refused(lambda: _sized(apply_patch(payload, OLD[:5000], length), length))


@fuzz("patch, framed anew")
@given(mutated(decompress(PATCH, 1 << 20)), st.just(5000) | st.integers(0, 20_000))
def test_a_patch_that_zstd_finds_whole_makes_what_it_says_or_is_refused(streams, length):
    return refused(lambda: _sized(apply_patch(compress(streams), OLD[:5000], length), length))


def _sized(made, length):
    assert len(made) == length


FRAME = compress(NEW[:3000])
PREFIXED = compress_prefixed(NEW[:3000], OLD[:3000])


@fuzz("zstd")
@given(mutated(FRAME, PREFIXED, compress(bytes(1 << 20))), st.just(3000) | st.integers(0, 4000))
def test_a_frame_unpacks_to_no_more_than_it_may_or_is_refused(frame, limit):
    def unpack():
        assert len(decompress(frame, limit)) <= limit

    def unpack_prefixed():
        assert len(decompress_prefixed(frame, OLD[:3000], limit)) <= limit

    return refused(unpack) & refused(unpack_prefixed)


@pytest.fixture(scope="module")
def pool():
    with DeltaPool(1) as pool:
        yield pool


@fuzz("window", 100)
@given(mutated(NEW[:3000], bytes(3000)), mutated(OLD[:3000], b""))
def test_a_window_comes_back_whatever_it_holds(pool, new, old):
    packed = WindowPacker(pool, LEAST).pack(new, old, 0)
    if packed.kind is OpKind.LITERAL:
        assert decompress(packed.payload, len(new)) == new
    elif packed.kind is OpKind.PREFIX:
        assert decompress_prefixed(packed.payload, old, len(new)) == new
    else:
        assert apply_patch(packed.payload, old, len(new)) == new
    return False
