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


def versions(seed):
    """An old version and a new one made from it by random edits."""
    chance = random.Random(seed)
    kinds = [
        chance.randbytes,
        bytes,
        lambda n: b" ".join(chance.choices(WORDS, k=n // 4 + 1))[:n],
        lambda n: (bytes(range(8)) * (n // 8 + 1))[:n],
    ]

    def fresh():
        length = chance.choice(
            [chance.randrange(100), chance.randrange(5 * KIB), chance.randrange(150 * KIB)]
        )
        return chance.choice(kinds)(length)

    old = b"".join(fresh() for _ in range(chance.randrange(8)))
    new = bytearray(old)
    for _ in range(chance.randrange(8)):
        at, some = chance.randint(0, len(new)), fresh()
        match chance.choice(["insert", "delete", "overwrite", "move", "zero", "truncate", "append"]):
            case "insert":
                new[at:at] = some
            case "delete":
                del new[at : at + len(some)]
            case "overwrite":
                new[at : at + len(some)] = some
            case "move":
                taken = new[at : at + len(some)]
                del new[at : at + len(some)]
                to = chance.randint(0, len(new))
                new[to:to] = taken
            case "zero":
                new[at : at + len(some)] = bytes(len(new[at : at + len(some)]))
            case "truncate":
                del new[len(new) - len(some) :]
            case "append":
                new += some
    return old, bytes(new)


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


SEEDS = st.integers(0, 1 << 40)
MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@MANY
@given(
    version=SEEDS, ways=st.sets(st.sampled_from(["extents", "holes", "slow line"])), seed=st.integers(0, 99)
)
def test_any_new_version_reads_back(pool, version, ways, seed):
    old, new = versions(version)
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
@given(version=SEEDS, sparse=st.booleans())
def test_a_content_without_an_old_version_reads_back_alone(pool, version, sparse):
    _, new = versions(version)
    encoded, store = encode(new, None, pool, data_ranges=data_blocks(new, 4096) if sparse else None)
    assert not encoded.depends_on_old
    assert WindowedReader(encoded.table, None, store.fetch).read(0, len(new)) == new
    kinds = {op.kind for op in WindowedReader(encoded.table, None, store.fetch).table}
    assert kinds <= {OpKind.ZERO, OpKind.LITERAL}


@MANY
@given(version=SEEDS, seed=st.integers(0, 1 << 40))
def test_a_wrong_old_version_gives_the_right_bytes_or_an_error(pool, version, seed):
    old, new = versions(version)
    encoded, store = encode(new, old, pool)
    chance = random.Random(seed)
    wrong = bytearray(old)
    for _ in range(chance.randrange(1, 4)):
        if wrong:
            wrong[chance.randrange(len(wrong))] ^= 0x10
    made = reader(encoded, store, bytes(wrong))
    for at in range(0, len(new), 50 * KIB):
        length = min(50 * KIB, len(new) - at)
        try:
            assert made.read(at, length) == new[at : at + length]
        except IntegrityError:
            continue


def test_a_foreign_old_version_of_the_same_size_is_noticed_at_every_place(pool):
    chance = random.Random(2)
    old = chance.randbytes(3 * MIB)
    new = old[: 2 * MIB] + b"inserted" + old[2 * MIB :]
    encoded, store = encode(new, old, pool)
    made = reader(encoded, store, chance.randbytes(3 * MIB))
    for at in range(0, len(new) - KIB, 100 * KIB):
        with pytest.raises(IntegrityError, match=r"window \d+ \(bytes \d+ to \d+\)"):
            made.read(at, KIB)


def test_every_flipped_payload_is_noticed_and_named(pool):
    chance = random.Random(3)
    old = chance.randbytes(400 * KIB)
    new = bytearray(chance.randbytes(70 * KIB) + old + bytes(200 * KIB))
    for _ in range(5000):
        new[chance.randrange(70 * KIB, 200 * KIB)] ^= 1
    new = bytes(new)
    seen = set()
    for policy in (SMALL, SLOW_LINE):
        encoded, store = encode(new, old, pool, policy=policy)
        at = 0
        for op in reader(encoded, store, old).table:
            place, at = at, at + op.length
            if op.payload is None:
                continue
            seen.add(op.kind)
            payload = bytearray(store.fetch(op.payload))
            payload[chance.randrange(len(payload) // 4, len(payload))] ^= 0x20

            def fetch(ref, damaged=op.payload, payload=bytes(payload), store=store):
                return payload if ref == damaged else store.fetch(ref)

            made = WindowedReader(encoded.table, Memory(old), fetch)
            with pytest.raises(IntegrityError, match=f"in {op.payload.pack} at {op.payload.offset}"):
                made.read(place, 1)
            short = WindowedReader(encoded.table, Memory(old), lambda ref, store=store: store.fetch(ref)[:-1])
            with pytest.raises(IntegrityError):
                short.read(place, 1)
            assert made.read(0, place) == new[:place]
    assert seen == {OpKind.LITERAL, OpKind.PREFIX, OpKind.PATCH}


def test_deltas_on_deltas_read_back(pool):
    chance = random.Random(7)
    versions_so_far = [chance.randbytes(600 * KIB)]
    encoded, store = encode(versions_so_far[0], None, pool)
    top = WindowedReader(encoded.table, None, store.fetch)
    for _ in range(8):
        new = bytearray(versions_so_far[-1])
        at = chance.randrange(len(new))
        new[at:at] = chance.randbytes(chance.randrange(3000))
        new[at - 99000 : at - 90000] = chance.randbytes(5000)
        versions_so_far.append(bytes(new))
        encoded, store = encode(new, versions_so_far[-2], pool)
        assert encoded.stored_bytes < 20 * KIB
        top = WindowedReader(encoded.table, top, store.fetch)
    assert top.read(0, top.size) == versions_so_far[-1]


def test_an_old_version_of_another_size_is_refused(pool):
    old = random.Random(1).randbytes(MIB)
    encoded, store = encode(old + b"more", old, pool)
    with pytest.raises(IntegrityError, match="needs the old version of 1048576 bytes"):
        WindowedReader(encoded.table, Memory(old[:-1]), store.fetch)
    with pytest.raises(IntegrityError, match="missing"):
        WindowedReader(encoded.table, None, store.fetch)
