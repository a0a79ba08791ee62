"""Any two versions of a file: what is encoded reads back, from every place, or fails loudly."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zdiffsync.errors import IntegrityError
from zdiffsync.format.delta_encode import encode_windows
from zdiffsync.format.delta_policy import DeltaPolicy
from zdiffsync.format.delta_pool import DeltaPool
from zdiffsync.format.delta_reader import WindowedReader
from zdiffsync.format.windows import BlobRef, OpKind

KIB = 1 << 10
MIB = 1 << 20
# A line so slow that bsdiff always pays, windows so small that small files have many.
SLOW_LINE = DeltaPolicy(window=64 * KIB, whole_window=64 * KIB, upload_bytes_per_second=1.0)
SMALL = DeltaPolicy(window=64 * KIB, whole_window=64 * KIB)


class Memory:
    """A content in memory that refuses to be read outside."""

    def __init__(self, data):
        self.data = bytes(data)
        self.size = len(self.data)
        self.read_bytes = 0

    def read(self, offset, length):
        assert 0 <= offset <= offset + length <= self.size
        self.read_bytes += length
        return self.data[offset : offset + length]


class Store:
    """Payloads one behind the other, in packs of a few."""

    def __init__(self):
        self.packs = {}

    def put(self, payload):
        name = f"pack{len(self.packs)}"
        if not self.packs or sum(map(len, self.packs[f"pack{len(self.packs) - 1}"])) > 256 * KIB:
            self.packs[name] = []
        name = f"pack{len(self.packs) - 1}"
        offset = sum(map(len, self.packs[name]))
        self.packs[name].append(payload)
        return BlobRef(name, offset, len(payload))

    def fetch(self, ref):
        return b"".join(self.packs[ref.pack])[ref.offset : ref.offset + ref.length]


@pytest.fixture(scope="module")
def pool():
    with DeltaPool(2) as started:
        yield started


def encode(new, old, pool, *, policy=SMALL, extents=None, data_ranges=None):
    store = Store()
    told = []
    encoded = encode_windows(
        Memory(new),
        None if old is None else Memory(old),
        store,
        extents=extents,
        data_ranges=data_ranges,
        pool=pool,
        policy=policy,
        progress=told.append,
    )
    assert sum(told) == len(new) == encoded.size
    return encoded, store


def reader(encoded, store, old):
    needed = Memory(old) if encoded.depends_on_old else None
    return WindowedReader(encoded.table, needed, store.fetch)


@st.composite
def versions(draw):
    """An old version, a new one made from it by edits, and the ranges where they differ."""
    noise = random.Random(draw(st.integers(0, 1 << 32)))
    kinds = {
        "noise": noise.randbytes,
        "zeros": bytes,
        "text": lambda n: b" ".join(noise.choices(WORDS, k=n // 4 + 1))[:n],
        "cycle": lambda n: (bytes(range(8)) * (n // 8 + 1))[:n],
    }
    piece = st.tuples(st.sampled_from(sorted(kinds)), st.integers(0, 150 * KIB))
    old = b"".join(kinds[kind](length) for kind, length in draw(st.lists(piece, max_size=4)))
    new = bytearray(old)
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(new)))
        length = draw(st.one_of(st.integers(0, 100), st.integers(0, 100 * KIB)))
        fresh = kinds[draw(st.sampled_from(sorted(kinds)))](length)
        match draw(st.sampled_from(["insert", "delete", "overwrite", "move", "truncate", "append"])):
            case "insert":
                new[at:at] = fresh
            case "delete":
                del new[at : at + length]
            case "overwrite":
                new[at : at + len(fresh)] = fresh
            case "move":
                taken = new[at : at + length]
                del new[at : at + length]
                to = draw(st.integers(0, len(new)))
                new[to:to] = taken
            case "truncate":
                del new[len(new) - length :]
            case "append":
                new += fresh
    return bytes(old), bytes(new)


WORDS = [b"alpha", b"beta", b"gamma", b"delta", b"epsilon", b"zeta", b"eta", b"theta", b"iota", b"kappa"]


def changed_blocks(old, new, block):
    return [
        (at, min(at + block, len(new)))
        for at in range(0, len(new), block)
        if old[at : at + block] != new[at : at + block]
    ]


def data_blocks(new, block):
    return [
        (at, min(at + block, len(new)))
        for at in range(0, len(new), block)
        if new[at : at + block].strip(b"\0")
    ]


MANY = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@MANY
@given(
    pair=versions(), ways=st.sets(st.sampled_from(["extents", "holes", "slow line"])), seed=st.integers(0, 99)
)
def test_any_new_version_reads_back(pool, pair, ways, seed):
    old, new = pair
    encoded, store = encode(
        new,
        old,
        pool,
        policy=SLOW_LINE if "slow line" in ways else SMALL,
        extents=changed_blocks(old, new, 4096) if "extents" in ways else None,
        data_ranges=data_blocks(new, 4096) if "holes" in ways else None,
    )
    made = reader(encoded, store, old)
    assert made.read(0, len(new)) == new
    places = random.Random(seed)
    for _ in range(10):
        start = places.randint(0, len(new))
        end = places.randint(start, len(new))
        assert made.read(start, end - start) == new[start:end]


@MANY
@given(pair=versions(), sparse=st.booleans())
def test_a_content_without_an_old_version_reads_back_alone(pool, pair, sparse):
    _, new = pair
    encoded, store = encode(new, None, pool, data_ranges=data_blocks(new, 4096) if sparse else None)
    assert not encoded.depends_on_old
    assert WindowedReader(encoded.table, None, store.fetch).read(0, len(new)) == new
    kinds = {op.kind for op in WindowedReader(encoded.table, None, store.fetch).table}
    assert kinds <= {OpKind.ZERO, OpKind.LITERAL}


def test_an_old_version_of_another_size_is_refused(pool):
    old = random.Random(1).randbytes(MIB)
    encoded, store = encode(old + b"more", old, pool)
    with pytest.raises(IntegrityError, match="needs the old version of 1048576 bytes"):
        WindowedReader(encoded.table, Memory(old[:-1]), store.fetch)
    with pytest.raises(IntegrityError, match="missing"):
        WindowedReader(encoded.table, None, store.fetch)
