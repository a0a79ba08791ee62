"""The second reader of the delta format, in recover.py, against what the first writer writes."""

import random

import pytest

from zdiffsync.format.delta_encode import encode_windows
from zdiffsync.format.delta_patch import make_patch
from zdiffsync.format.delta_policy import DeltaPolicy
from zdiffsync.format.delta_pool import DeltaPool
from zdiffsync.format.windows import BlobRef
from zdiffsync.format.zstd import compress, compress_prefixed
from zdiffsync.recovery import recover

KIB = 1 << 10
MIB = 1 << 20
POLICIES = [
    DeltaPolicy(window=64 * KIB, whole_window=64 * KIB),
    DeltaPolicy(window=64 * KIB, whole_window=64 * KIB, upload_bytes_per_second=1.0),  # bsdiff always pays
]


class Memory:
    def __init__(self, data):
        self.data, self.size = data, len(data)

    def read(self, offset, length):
        return self.data[offset : offset + length]


class Packs:
    def __init__(self):
        self.data = b"zdspack\x01"

    def put(self, payload):
        self.data += payload
        return BlobRef("pack", len(self.data) - len(payload), len(payload))

    def read(self, _pack, offset, length):
        return self.data[offset : offset + length]


@pytest.fixture(autouse=True, params=["program", "module"])
def zstd(request, monkeypatch):
    """Have recover.py unpack with the program, or with the module that this Python has."""
    monkeypatch.setattr(recover, "zstd", "zstd" if request.param == "program" else recover.find_zstd())
    return request.param


@pytest.fixture(scope="module")
def pool():
    with DeltaPool(1) as started:
        yield started


def versions(seed):
    rng = random.Random(seed)
    old = rng.randbytes(rng.randrange(300 * KIB)) + bytes(rng.randrange(200 * KIB)) + b"words " * 20_000
    new = bytearray(old)
    for _ in range(rng.randrange(1, 60)):
        at, count = rng.randrange(len(new)), rng.choice((1, 50, 5000))
        new[at : at + rng.choice((0, count))] = rng.choice((rng.randbytes, bytes))(count)
    return old, bytes(new)


@pytest.mark.parametrize("seed", range(8))
def test_it_reads_what_was_written_from_every_place(seed, pool):
    old, new = versions(seed)
    packs = Packs()
    encoded = encode_windows(
        Memory(new), Memory(old), packs, extents=None, data_ranges=None, pool=pool,
        policy=POLICIES[seed % 2], progress=lambda _done: None,
    )  # fmt: skip
    windows = recover.Windows(encoded.table, Memory(old) if encoded.depends_on_old else None, packs)
    assert windows.size == len(new)
    assert windows.read(0, len(new)) == new
    made = bytearray(len(new))
    for offset, length in windows.parts():
        made[offset : offset + length] = windows.read(offset, length)
    assert made == new
    rng = random.Random(seed)
    for _ in range(20):
        at = rng.randrange(len(new))
        length = rng.randrange(len(new) - at)
        assert windows.read(at, length) == new[at : at + length]


@pytest.mark.parametrize("seed", range(4))
def test_damage_is_found(seed, pool):
    old, new = versions(seed)
    packs = Packs()
    encoded = encode_windows(
        Memory(new), Memory(old), packs, extents=None, data_ranges=None, pool=pool,
        policy=POLICIES[seed % 2], progress=lambda _done: None,
    )  # fmt: skip
    rng = random.Random(seed)
    whole = packs.data
    for _ in range(20):
        packs.data = _flipped(whole, rng)
        _read_right_or_refused(encoded.table, old, packs, new)
        packs.data = whole
        _read_right_or_refused(_flipped(encoded.table, rng), old, packs, new)
        _read_right_or_refused(encoded.table, old[:-1], packs, new)


def _flipped(data, rng):
    at = rng.randrange(8, len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def _read_right_or_refused(table, old, packs, new):
    try:
        made = recover.Windows(table, Memory(old), packs).read(0, len(new))
    except recover.Damage:
        return
    assert made == new


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100_000, 32 * MIB])
def test_a_raw_prefix_of_any_length_serves(length):
    old = random.Random(length).randbytes(length)
    new = b"begin " + old[-(16 * MIB - 20) :] + b" end"
    frame = compress_prefixed(new, old)
    assert recover.unpack(frame, len(new), old) == new
    if length > 100:
        assert len(frame) < 30_000


def test_a_prefix_that_looks_like_a_dictionary_of_zstd_is_none():
    old = (0xEC30A437).to_bytes(4, "little") + random.Random(1).randbytes(100_000)
    new = old[:50_000] + b"in between" + old[50_000:]
    assert recover.unpack(compress_prefixed(new, old), len(new), old) == new


def test_a_frame_is_never_unpacked_beyond_what_it_should_hold():
    bomb = compress(bytes(256 * MIB))
    with pytest.raises(recover.Damage, match="more than the 1000 bytes"):
        recover.unpack(bomb, 1000)
    for damaged in (bomb[:-1], b"", b"no frame at all"):
        with pytest.raises(recover.Damage):
            recover.unpack(damaged, 256 * MIB)


@pytest.mark.parametrize("seed", range(6))
def test_patches_are_carried_out(seed):
    old, new = versions(seed)
    assert recover.apply_patch(make_patch(old, new), old, len(new)) == new
    assert recover.apply_patch(make_patch(b"", new[:1000]), b"", 1000) == new[:1000]


def test_bytes_are_added_modulo_256():
    every = bytes(range(256))
    for shift in (0, 1, 127, 128, 255):
        assert recover.add_bytes(every, bytes([shift] * 256)) == bytes((b + shift) % 256 for b in every)
