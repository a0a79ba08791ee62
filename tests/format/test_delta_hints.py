"""Reading with a local copy at hand: what fits its digest costs nothing, what does not is fetched."""

import random

import pytest

from zdiffsync.format.delta_encode import encode_windows
from zdiffsync.format.delta_policy import DeltaPolicy
from zdiffsync.format.delta_pool import DeltaPool
from zdiffsync.format.delta_reader import WindowedReader
from zdiffsync.format.windows import BlobRef
from zdiffsync.model.bytesource import Hint

KIB = 1 << 10
SMALL = DeltaPolicy(window=64 * KIB, whole_window=64 * KIB)


class Chunks:
    """An old version that is fetched by chunks, each of which it can check; counts what was fetched."""

    def __init__(self, data, chunk=100 * KIB):
        self.data, self.chunk, self.size = data, chunk, len(data)
        self.fetched, self.known = [], set()

    def read(self, offset, length):
        return self.read_hinted(offset, length, Hint(lambda _offset, _length: None, 0, 0))

    def read_hinted(self, offset, length, hint):
        for start in range(offset // self.chunk * self.chunk, offset + length, self.chunk):
            right = self.data[start : start + self.chunk]
            if start in self.known:
                continue
            self.known.add(start)
            if hint.take(start, len(right), lambda data, right=right: data == right) is None:
                self.fetched.append(start)
        return self.data[offset : offset + length]


class Case:
    """An old and a new version, the new one stored; everything that is fetched is counted."""

    def __init__(self, old, new, extents=None, reads=None):
        self.new, self.payloads, self.fetched = new, {}, []
        with DeltaPool(1) as pool:
            encoded = encode_windows(
                Chunks(new), Chunks(old), self, extents=extents, data_ranges=None, pool=pool, policy=SMALL,
                progress=lambda _done: None,
            )  # fmt: skip
        self.old = Chunks(old)
        self.reader = WindowedReader(encoded.table, reads or self.old, self.fetch)

    def put(self, payload):
        ref = BlobRef("pack", len(self.payloads), len(payload))
        self.payloads[ref] = payload
        return ref

    def fetch(self, ref):
        self.fetched.append(ref)
        return self.payloads[ref]

    def read(self, local, step=30 * KIB):
        hint = Hint(lambda at, length: local and local[at : at + length], 0, len(self.new))
        self.tally = hint.tally
        parts = [
            self.reader.read_hinted(at, min(step, len(self.new) - at), hint)
            for at in range(0, len(self.new), step)
        ]
        assert b"".join(parts) == self.new


@pytest.fixture
def versions():
    rng = random.Random(7)
    old = rng.randbytes(4000 * KIB)
    new = bytearray(old)
    new[1000 * KIB : 1010 * KIB] = rng.randbytes(10 * KIB)
    new[3000 * KIB : 3000 * KIB + 5] = b"12345"
    extents = [(1000 * KIB, 1010 * KIB), (3000 * KIB, 3004 * KIB)]
    return old, bytes(new), extents


@pytest.mark.parametrize("known", [True, False])
def test_a_right_local_copy_spares_all_but_the_chunks_at_the_edges_of_changes(versions, known):
    """`known`: the send stream told what is equal, so nothing but the old version's chunks can prove it."""
    old, new, extents = versions
    case = Case(old, new, extents if known else None)
    case.read(new)
    assert case.fetched == []
    assert case.tally.refused == 0
    assert len(set(case.old.fetched)) <= 4
    assert case.tally.missed < 0.1 * len(new)


def test_without_a_local_copy_all_is_fetched(versions):
    case = Case(*versions)
    case.read(None)
    assert len(set(case.fetched)) == len(case.payloads) > 0
    assert case.tally.refused == 0
    assert case.tally.missed >= len(case.new)


@pytest.mark.parametrize("damage", ["one byte", "everything", "shifted", "shorter"])
def test_a_wrong_local_copy_costs_what_is_wrong_and_no_byte_more(versions, damage):
    old, new, extents = versions
    wrong = bytearray(new)
    if damage == "one byte":
        wrong[500 * KIB] ^= 1
        wrong[1005 * KIB] ^= 1
    elif damage == "everything":
        wrong = bytearray(random.Random(8).randbytes(len(new)))
    elif damage == "shifted":
        wrong = wrong[1:] + b"\0"
    else:
        del wrong[2000 * KIB :]
    case = Case(old, new, extents)
    case.read(bytes(wrong))
    assert case.tally.refused > 0
    if damage == "one byte":
        assert case.tally.missed < 0.15 * len(new)
        assert len(set(case.old.fetched)) <= 6


def test_a_delta_on_a_delta_asks_for_the_right_bytes(versions):
    old, middle, extents = versions
    first = Case(old, middle, extents)
    new = bytearray(middle)
    new[2000 * KIB : 2001 * KIB] = bytes(range(256)) * 4
    second = Case(middle, bytes(new), [(2000 * KIB, 2004 * KIB)], reads=first.reader)
    second.read(bytes(new))
    assert (first.fetched, second.fetched) == ([], [])
    assert second.tally.missed < 0.15 * len(new)
    assert len(set(first.old.fetched)) <= 6
