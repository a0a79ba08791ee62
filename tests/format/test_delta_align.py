"""What alignment must find, what must not be read, and how long the worst inputs may take."""

import itertools
import random
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zdiffsync.errors import ConfigError, RemoteError
from zdiffsync.format.align_index import MAX_ANCHORS, AnchorIndex
from zdiffsync.format.align_ranges import common_prefix, common_suffix, normalized, partitioned
from zdiffsync.format.delta_encode import encode_windows
from zdiffsync.format.delta_policy import DeltaPolicy
from zdiffsync.format.delta_pool import DeltaPool
from zdiffsync.format.delta_reader import WindowedReader
from zdiffsync.format.windows import BlobRef, OpKind

KIB = 1 << 10
MIB = 1 << 20
NOISE = random.Random(1).randbytes(16 * MIB)
UNLIMITED = DeltaPolicy(cpu_price=0.0)


class Source:
    """Bytes in memory; reading outside of `allowed` ranges is a failure."""

    def __init__(self, data, allowed=None):
        self.data = bytes(data)
        self.size = len(self.data)
        self.allowed = [(0, self.size)] if allowed is None else allowed
        self.count = 0

    def read(self, offset, length):
        assert any(low <= offset and offset + length <= high for low, high in self.allowed), (offset, length)
        self.count += length
        return self.data[offset : offset + length]


class Sink:
    def __init__(self):
        self.payloads = []

    def put(self, payload):
        self.payloads.append(payload)
        return BlobRef("pack", len(self.payloads) - 1, len(payload))

    def fetch(self, ref):
        return self.payloads[ref.offset]


@pytest.fixture(scope="module")
def pool():
    with DeltaPool(2) as started:
        yield started


def encode(new, old, pool, *, extents=None, data_ranges=None, policy=None):
    new, old = (source if isinstance(source, Source | None) else Source(source) for source in (new, old))
    sink = Sink()
    encoded = encode_windows(
        new,
        old,
        sink,
        extents=extents,
        data_ranges=data_ranges,
        pool=pool,
        policy=policy or DeltaPolicy(),
        progress=lambda _: None,
    )
    assert encoded.stored_bytes == sum(map(len, sink.payloads)) + len(encoded.table)
    made = WindowedReader(encoded.table, Source(old.data) if encoded.depends_on_old else None, sink.fetch)
    assert made.read(0, made.size) == new.data
    return encoded, list(made.table)


def test_a_byte_inserted_at_the_front_costs_a_few_bytes(pool):
    encoded, _ = encode(b"x" + NOISE, NOISE, pool)
    assert encoded.stored_bytes < 500
    assert encoded.bytes_read < 8 * len(NOISE)


def test_insertions_and_deletions_of_any_size_are_found(pool):
    new = NOISE[5 * MIB :] + b"between" * 1000 + NOISE[: 5 * MIB - 12_345]
    encoded, _ = encode(new, NOISE, pool)
    assert encoded.stored_bytes < 2 * KIB


def test_blocks_that_changed_places_are_found(pool):
    chance = random.Random(3)
    cuts = [0, *sorted(chance.sample(range(len(NOISE)), 20)), len(NOISE)]
    parts = [NOISE[a:b] for a, b in itertools.pairwise(cuts)]
    chance.shuffle(parts)
    encoded, _ = encode(b"".join(parts), NOISE, pool)
    assert encoded.stored_bytes < 8 * KIB


def test_scattered_writes_cost_what_was_written(pool):
    chance = random.Random(4)
    new = bytearray(NOISE)
    for page in chance.sample(range(len(NOISE) // (64 * KIB)), 100):
        new[page * 64 * KIB + 8 * KIB : page * 64 * KIB + 12 * KIB] = chance.randbytes(4 * KIB)
    encoded, _ = encode(new, NOISE, pool)
    assert 100 * 4 * KIB < encoded.stored_bytes < 1.05 * 100 * 4 * KIB


def test_changed_lines_of_a_text_cost_little_wherever_they_shift_it(pool):
    chance = random.Random(5)
    words = [bytes(chance.choices(range(97, 123), k=chance.randrange(2, 9))) for _ in range(2000)]
    lines = [b" ".join(chance.choices(words, k=12)) for _ in range(60_000)]
    old = b"\n".join(lines)
    for _ in range(100):
        at = chance.randrange(len(lines))
        lines[at : at + chance.randrange(2)] = [b" ".join(chance.choices(words, k=12))]
    encoded, _ = encode(b"\n".join(lines), old, pool)
    assert encoded.stored_bytes < 100 * 12 * 9 * 1.5


def test_lines_that_share_their_phrases_are_found_where_they_moved_to(pool):
    chance = random.Random(6)
    agents = [b'"Mozilla/5.0 (X11; Linux x86_64; rv:%d.0)" ' % chance.randrange(10**6) for _ in range(20)]
    lines = [b"%d GET %s200\n" % (chance.randrange(10**9), chance.choice(agents)) for _ in range(120_000)]
    old, new = b"".join(lines[:110_000]), b"".join(lines[50_000:])
    encoded, _ = encode(new, old, pool)
    assert encoded.stored_bytes < 10_000 * 10


def pages(rows, order):
    """Pack rows into pages as databases do: from the end, behind a table of their places."""
    made, page = [], []
    for number in order:
        if sum(map(len, page)) + len(rows[number]) > 3900:
            body = b"".join(reversed(page))
            made.append(len(page).to_bytes(8, "big").ljust(4096 - len(body), b"\x11") + body)
            page = []
        page.append(rows[number])
    return b"".join(made)


@pytest.mark.parametrize("removed", [0.03, 0.2])
def test_rows_packed_anew_after_some_were_removed_are_found(pool, removed):
    chance = random.Random(7)
    rows = [chance.randbytes(chance.randrange(200, 600)) for _ in range(30_000)]
    left = [number for number in range(len(rows)) if chance.random() > removed]
    new = pages(rows, left)
    encoded, ops = encode(new, pages(rows, range(len(rows))), pool)
    assert encoded.stored_bytes < len(new) / 20
    assert {op.kind for op in ops} <= {OpKind.COPY, OpKind.PREFIX, OpKind.PATCH}


def test_rows_updated_in_place_are_not_looked_for_where_their_phrases_recur(pool):
    chance = random.Random(8)
    phrases = [chance.randbytes(60) for _ in range(5000)]
    rows = [bytearray(chance.randbytes(30) + b"".join(chance.choices(phrases, k=4))) for _ in range(90_000)]
    old = b"".join(rows)
    for row in chance.sample(rows, 3000):
        row[:20] = chance.randbytes(20)
    encoded, _ = encode(b"".join(rows), old, pool)
    assert encoded.stored_bytes < 3000 * 40


def test_unrelated_versions_are_stored_whole(pool):
    encoded, ops = encode(random.Random(9).randbytes(2 * MIB), NOISE[: 2 * MIB], pool)
    assert not encoded.depends_on_old
    assert {op.kind for op in ops} == {OpKind.LITERAL}
    assert max(op.length for op in ops) <= MIB


def test_a_delta_of_more_than_half_of_the_whole_is_not_made(pool):
    foreign = random.Random(9).randbytes(4 * MIB)
    for share, delta in ((40, True), (60, False)):
        new = foreign[: 4 * MIB * share // 100] + NOISE[4 * MIB * share // 100 : 4 * MIB]
        encoded, _ = encode(new, NOISE[: 4 * MIB], pool)
        assert encoded.depends_on_old == delta


def test_only_known_changes_are_read(pool):
    new = bytearray(NOISE)
    new[9_000_000:9_004_096] = random.Random(9).randbytes(4096)
    extents = [(8_912_896, 9_043_968)]
    source = Source(new)
    encoded, ops = encode(source, NOISE, pool, extents=extents)
    # The rest are samples that say how large the whole would be.
    assert encoded.bytes_read < 6 * MIB
    assert [op.kind for op in ops if op.kind is not OpKind.COPY] == [OpKind.LITERAL]
    assert all(op.digest is None for op in ops if op.kind is OpKind.COPY)
    encoded, ops = encode(new, NOISE, pool)
    assert all(op.digest is not None and op.length <= 8 * MIB for op in ops if op.kind is OpKind.COPY)


class Terabyte:
    """So many bytes that only samples of them can be read."""

    size = 1 << 40

    def __init__(self):
        self.count = 0

    def read(self, offset, length):
        self.count += length
        return random.Random(offset).randbytes(length)


def test_the_index_of_a_terabyte_is_small_and_quickly_made():
    old = Terabyte()
    index = AnchorIndex(old, [(0, old.size)])
    assert MAX_ANCHORS // 2 <= len(index) <= MAX_ANCHORS
    assert old.count <= MAX_ANCHORS * 32
    place = 77 * index.spacing
    assert list(index.hits(b"shifted" + old.read(place, 32), 0)) == [(7, place)]


def test_of_content_that_occurs_often_the_nearest_is_found():
    block = NOISE[: 4 * KIB]
    index = AnchorIndex(Source(block * 3 + bytes(9 * KIB)), [(0, 21 * KIB)])
    for likely, found in ((0, 0), (5 * KIB, 4 * KIB), (90 * KIB, 8 * KIB)):
        assert next(index.hits(block, likely)) == (0, found)
    assert list(index.hits(bytes(KIB), 0)) == []


def test_holes_are_not_read(pool):
    size = 64 * MIB
    data = [(0, 4096), (10 * MIB, 10 * MIB + 4096), (20 * MIB, 21 * MIB)]
    new = bytearray(size)
    for low, high in data:
        new[low:high] = NOISE[low:high].ljust(high - low, b"x")
    source = Source(new, allowed=data)
    encoded, ops = encode(source, None, pool, data_ranges=data)
    assert encoded.bytes_read == sum(high - low for low, high in data)
    assert [op.kind for op in ops] == [OpKind.LITERAL, OpKind.ZERO] * 3
    source = Source(new, allowed=data)
    encode(source, bytes(new[: 15 * MIB]), pool, data_ranges=data)
    assert source.count < 5 * MIB


def test_zeros_cost_nothing_and_need_no_old_version(pool):
    encoded, ops = encode(bytes(40 * MIB), None, pool)
    assert [(op.kind, op.length) for op in ops] == [(OpKind.ZERO, 40 * MIB)]
    assert encoded.stored_bytes < 50


def test_a_file_that_grew_or_shrank_keeps_what_it_had(pool):
    encoded, _ = encode(NOISE[: 8 * MIB] + b"tail", NOISE[: 8 * MIB], pool)
    assert encoded.stored_bytes < 500
    encoded, _ = encode(NOISE[: 6 * MIB], NOISE[: 8 * MIB], pool)
    assert encoded.stored_bytes < 500
    encoded, _ = encode(b"", NOISE[:MIB], pool)
    assert encoded.size == 0
    encoded, _ = encode(NOISE[:MIB], b"", pool)
    assert not encoded.depends_on_old


def repeated(edit):
    data = bytearray(b"abcdefgh" * (2 * MIB))
    edit(data)
    return bytes(data)


def insert_one(data):
    data[5 * MIB : 5 * MIB] = b"X"


def insert_many(data):
    for at in range(1_000_000, 0, -9973):
        data[at:at] = b"Q"


PATHOLOGICAL = {
    "zeros that grew": (bytes(16 * MIB), bytes(16 * MIB + 4096)),
    "a byte in a repeat": (repeated(lambda _: None), repeated(insert_one)),
    "many bytes in a repeat": (repeated(lambda _: None), repeated(insert_many)),
    "a page again and again": (NOISE[:4096] * 4096, b"!" + NOISE[:4096] * 4096),
    "pages between zeros": (
        b"".join(NOISE[n * 4096 : n * 4096 + 4096] + bytes(4096) for n in range(2048)),
        b"!!!" + b"".join(NOISE[n * 4096 : n * 4096 + 4096] + bytes(4096) for n in range(2048)),
    ),
    "nothing in common": (NOISE[: 8 * MIB], NOISE[8 * MIB :]),
}


@pytest.mark.parametrize("case", PATHOLOGICAL)
@pytest.mark.parametrize("policy", [DeltaPolicy(), UNLIMITED], ids=["default", "CPU for free"])
def test_unlucky_inputs_take_bounded_time(pool, case, policy):
    old, new = PATHOLOGICAL[case]
    began = time.monotonic()
    encode(new, old, pool, policy=policy)
    assert time.monotonic() - began < 20


def test_only_a_few_windows_are_held_at_once():
    held = most = 0
    lock = threading.Lock()

    class Slow(DeltaPool):
        def submit(self, function, *args):
            nonlocal held, most
            with lock:
                held += 1
                most = max(most, held)

            def run():
                nonlocal held
                time.sleep(0.002)
                try:
                    return function(*args)
                finally:
                    with lock:
                        held -= 1

            return super().submit(run)

    with Slow(2) as pool:
        encode(NOISE * 4, None, pool)
    assert 2 <= most <= 5


def test_an_error_of_the_sink_ends_the_encoding(pool):
    class Full(Sink):
        def put(self, payload):
            if len(self.payloads) == 3:
                raise RemoteError("the remote is full")
            return super().put(payload)

    with pytest.raises(RemoteError, match="full"):
        encode_windows(
            Source(NOISE),
            None,
            Full(),
            extents=None,
            data_ranges=None,
            pool=pool,
            policy=DeltaPolicy(),
            progress=lambda _: None,
        )
    encode(NOISE, None, pool)


def test_a_window_no_reader_would_take_is_refused():
    with pytest.raises(ConfigError, match="choose 65536 to 16777216"):
        DeltaPolicy(window=32 * MIB)
    with pytest.raises(ConfigError, match="1 bytes"):
        DeltaPolicy(whole_window=1)


RANGES = st.lists(st.tuples(st.integers(-5, 60), st.integers(-5, 60)), max_size=8)


@given(RANGES, st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_ranges_cover_what_they_should(ranges, size, start, end):
    inside = {at for low, high in ranges for at in range(max(low, 0), min(high, size))}
    found = normalized(ranges, size)
    assert {at for low, high in found for at in range(low, high)} == inside
    assert all(a[1] < b[0] for a, b in itertools.pairwise(found))
    parts = list(partitioned(found, start, end))
    assert [at for low, high, _ in parts for at in range(low, high)] == list(range(start, end))
    assert all((at in inside) == is_in for low, high, is_in in parts for at in range(low, high))


@given(st.binary(max_size=40), st.binary(max_size=20), st.binary(max_size=20))
def test_common_ends_are_as_long_as_they_are(both, a, b):
    expected = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    assert common_prefix(both + a, both + b) == len(both) + expected
    assert common_suffix(a[::-1] + both, b[::-1] + both) == len(both) + expected
