"""A second reader, written from docs/delta-format.md alone: the page must be enough, and stay true."""

import hashlib
import random
import sys

import pytest

from zdiffsync.format.delta_encode import encode_windows
from zdiffsync.format.delta_policy import DeltaPolicy
from zdiffsync.format.delta_pool import DeltaPool
from zdiffsync.format.windows import BlobRef

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Bytes:
    def __init__(self, data):
        self.at, self.data = 0, data

    def take(self, count):
        assert self.at + count <= len(self.data)
        self.at += count
        return self.data[self.at - count : self.at]

    def uint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def sint(self):
        folded = self.uint()
        return folded // 2 if folded % 2 == 0 else -(folded + 1) // 2


def patched(streams, old):
    fields = Bytes(streams)
    count, size = fields.uint(), fields.uint()
    steps = [(fields.sint(), fields.sint(), fields.sint()) for _ in range(count)]
    differences = Bytes(fields.take(size))
    additions = Bytes(fields.data[fields.at :])
    made, at = bytearray(), 0
    for add, insert, seek in steps:
        for offset, byte in enumerate(differences.take(add)):
            inside = 0 <= at + offset < len(old)
            made.append((byte + old[at + offset]) % 256 if inside else byte)
        made += additions.take(insert)
        at += add + seek
    assert differences.at == len(differences.data)
    assert additions.at == len(additions.data)
    return bytes(made)


def content_of(table, old, packs):
    head = Bytes(table)
    assert head.take(1) == b"\x01"
    length = head.uint()
    body = Bytes(zstd.decompress(table[head.at :]))
    assert len(body.data) == length
    size, old_size = body.uint(), body.uint()
    assert old_size == (0 if old is None else len(old) + 1)
    names = [body.take(body.uint()).decode() for _ in range(body.uint())]
    count, digests_size = body.uint(), body.uint()
    digests = Bytes(body.data[len(body.data) - digests_size :])
    made, kinds, cursor, payload_cursor = bytearray(), set(), 0, 0
    for _ in range(count):
        head = body.take(1)[0]
        kind, digested, length = head % 8, head // 8, body.uint()
        kinds.add(kind)
        if kind in {1, 2, 3}:
            start = cursor + body.sint()
            taken = length if kind == 1 else body.uint()
            before = old[start : start + taken]
        if kind in {2, 3, 4}:
            pack = packs[names[body.uint()]]
            at = payload_cursor + body.sint()
            payload_cursor = at + body.uint()
            payload = pack[at:payload_cursor]
        match kind:
            case 0:
                output = bytes(length)
            case 1:
                output = before
            case 2:
                output = patched(zstd.decompress(payload), before)
            case 3:
                prefix = zstd.ZstdDict(before, is_raw=True).as_prefix if len(before) >= 8 else None
                output = zstd.decompress(payload, zstd_dict=prefix)
            case 4:
                output = zstd.decompress(payload)
        cursor = start + length if kind == 1 else cursor + length
        assert len(output) == length
        assert not digested or hashlib.sha256(output).digest()[:16] == digests.take(16)
        made += output
    assert len(made) == size
    assert digests.at == digests_size
    assert body.at == len(body.data) - digests_size
    return bytes(made), kinds


class Memory:
    def __init__(self, data):
        self.data, self.size = data, len(data)

    def read(self, offset, length):
        return self.data[offset : offset + length]


class Packs:
    def __init__(self):
        self.packs = {}

    def put(self, payload):
        name = f"packs/{len(self.packs) % 3}"
        data = self.packs.get(name, b"")
        self.packs[name] = data + payload
        return BlobRef(name, len(data), len(payload))


@pytest.mark.parametrize("known", [True, False], ids=["known extents", "unknown extents"])
def test_what_is_written_is_what_the_page_says(known):
    chance = random.Random(1)
    old = chance.randbytes(600_000)
    rows = [chance.randbytes(chance.choice((4, 8, 12))) + chance.randbytes(4) for _ in range(20_000)]
    addresses = b"".join(rows)
    moved = b"".join(row[:-4] + bytes([row[-4] ^ 4, *row[-3:]]) for row in rows)
    text = b"".join(b"line %d of many\n" % n for n in range(10_000))
    old += addresses + text
    new = old[:300_000] + b"in between" + old[300_000:600_000] + moved + text.replace(b"7 of", b"7 off")
    new += bytes(300_000) + chance.randbytes(50_000)
    packs = Packs()
    # A line so slow that bsdiff pays.
    policy = DeltaPolicy(window=1 << 16, upload_bytes_per_second=1e4)
    with DeltaPool(2) as pool:
        encoded = encode_windows(
            Memory(new),
            Memory(old),
            packs,
            extents=[(250_000, len(new))] if known else None,
            data_ranges=None,
            pool=pool,
            policy=policy,
            progress=lambda _: None,
        )
    made, kinds = content_of(encoded.table, old, packs.packs)
    assert made == new
    assert kinds == {0, 1, 2, 3, 4}
