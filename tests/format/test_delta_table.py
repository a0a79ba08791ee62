"""Op tables: what is written reads back, and nothing inconsistent is ever read."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zdiffsync.errors import IntegrityError
from zdiffsync.format.delta_table import MAX_OLD_LENGTH, MAX_OP_LENGTH, TableWriter, decode_windows
from zdiffsync.format.windows import BlobRef, Op, OpKind
from zdiffsync.format.zstd import compress, decompress

OLD_SIZE = 1 << 40
DIGEST = bytes(range(16))


@st.composite
def ops(draw):
    kind = draw(st.sampled_from(OpKind))
    digest = draw(st.binary(min_size=16, max_size=16))
    if kind is OpKind.ZERO:
        return Op(kind, draw(st.integers(1, 1 << 45)))
    if kind is OpKind.COPY:
        digested = draw(st.booleans())
        length = draw(st.integers(1, MAX_OP_LENGTH if digested else 1 << 39))
        old = draw(st.integers(0, OLD_SIZE - length))
        return Op(kind, length, old, length, digest if digested else None)
    payload = BlobRef(
        draw(st.sampled_from(["aa/1", "bb/2", "ç"])),
        draw(st.integers(0, 1 << 50)),
        draw(st.integers(1, 1 << 25)),
    )
    length = draw(st.integers(1, MAX_OP_LENGTH))
    if kind is OpKind.LITERAL:
        return Op(kind, length, digest=digest, payload=payload)
    old_length = draw(st.integers(0, MAX_OLD_LENGTH))
    return Op(kind, length, draw(st.integers(0, OLD_SIZE - old_length)), old_length, digest, payload)


def written(operations, old_size=OLD_SIZE):
    table = TableWriter(old_size)
    for op in operations:
        table.add(op)
    return table.finish()


def mergeable(a, b):
    if a.kind is OpKind.ZERO:
        return b.kind is OpKind.ZERO
    return (
        a.kind is b.kind is OpKind.COPY
        and not a.digest
        and not b.digest
        and b.old_offset == a.old_offset + a.length
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(ops(), max_size=30))
def test_ops_read_back(operations):
    operations = [op for n, op in enumerate(operations) if not n or not mergeable(operations[n - 1], op)]
    # Dropping one may have brought two that merge together: keep the comparison simple.
    if any(map(mergeable, operations, operations[1:])):
        return
    table = decode_windows(written(operations))
    assert list(table) == operations
    assert table.size == sum(op.length for op in operations)
    starts = [sum(op.length for op in operations[:n]) for n in range(len(operations))]
    for number, op in enumerate(operations):
        assert table.start(number) == starts[number]
        assert table.find(starts[number]) == table.find(starts[number] + op.length - 1) == number


def test_zeros_and_undigested_copies_grow_into_one():
    table = decode_windows(
        written(
            [
                Op(OpKind.ZERO, 5),
                Op(OpKind.ZERO, 6),
                Op(OpKind.COPY, 10, 11, 10),
                Op(OpKind.COPY, 20, 21, 20),
                Op(OpKind.COPY, 5, 50, 5),
                Op(OpKind.COPY, 5, 55, 5, DIGEST),
            ]
        )
    )
    assert list(table) == [
        Op(OpKind.ZERO, 11),
        Op(OpKind.COPY, 30, 11, 30),
        Op(OpKind.COPY, 5, 50, 5),
        Op(OpKind.COPY, 5, 55, 5, DIGEST),
    ]


def test_a_table_that_takes_nothing_from_the_old_version_does_not_ask_for_it():
    literal = Op(OpKind.LITERAL, 9, digest=DIGEST, payload=BlobRef("p", 0, 9))
    assert decode_windows(written([literal], old_size=77)).old_size is None
    assert decode_windows(written([Op(OpKind.COPY, 7, 70, 7)], old_size=77)).old_size == 77


def test_changes_cost_little_and_what_is_unchanged_next_to_nothing():
    noise = random.Random(1)
    scattered = []
    at = end = 0
    for _ in range(1000):
        gap = noise.randrange(1 << 12) * 4096 + 4096
        scattered.append(Op(OpKind.COPY, gap, at, gap))
        scattered.append(
            Op(OpKind.LITERAL, 4096, digest=noise.randbytes(16), payload=BlobRef("pack/1", end, 4110))
        )
        at += gap + 4096
        end += 4110
    assert len(written(scattered)) < 1000 * 25
    assert len(written([Op(OpKind.COPY, 1 << 39, 0, 1 << 39)])) < 50


def reframed(body):
    """A table around `body`, with the length it really has."""
    head = bytearray([1])
    length = len(body)
    while length >> 7:
        head.append(length & 127 | 128)
        length >>= 7
    head.append(length)
    return bytes(head) + compress(body)


def body_of(table):
    at = 1
    while table[at] >> 7:
        at += 1
    return decompress(table[at + 1 :], 1 << 24)


SOME = [
    Op(OpKind.ZERO, 4096),
    Op(OpKind.COPY, 1 << 20, 4096, 1 << 20, DIGEST),
    Op(OpKind.PATCH, 5000, 60000, 9000, DIGEST, BlobRef("packs/one", 100, 300)),
    Op(OpKind.PREFIX, 7000, 70000, 9000, DIGEST, BlobRef("packs/two", 0, 90)),
    Op(OpKind.LITERAL, 900, digest=DIGEST, payload=BlobRef("packs/one", 400, 400)),
    Op(OpKind.COPY, 1 << 19, 0, 1 << 19),
]
SOME_OLD_SIZE = 2 << 20


def assert_consistent(table):
    assert sum(op.length for op in table) == table.size
    for op in table:
        assert op.length > 0
        assert 0 <= op.old_offset <= op.old_offset + op.old_length <= (table.old_size or 0)
        assert op.kind is OpKind.ZERO or op.digest is not None or op.kind is OpKind.COPY
        assert op.digest is None or op.length <= MAX_OP_LENGTH
        assert (op.payload is not None) == op.kind.has_payload


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_a_damaged_body_is_refused_or_still_consistent(data):
    body = bytearray(body_of(written(SOME, SOME_OLD_SIZE)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        match data.draw(st.sampled_from(["set", "cut", "insert"])):
            case "set":
                body[at] = data.draw(st.integers(0, 255))
            case "cut":
                del body[at : at + data.draw(st.integers(1, 20))]
            case "insert":
                body[at:at] = data.draw(st.binary(min_size=1, max_size=10))
        if not body:
            break
    try:
        table = decode_windows(reframed(bytes(body)))
    except IntegrityError:
        return
    assert_consistent(table)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_foreign_bytes_are_refused(data):
    with pytest.raises(IntegrityError):
        decode_windows(data)
    try:
        assert_consistent(decode_windows(reframed(data)))
    except IntegrityError:
        return


def test_every_cut_and_every_flipped_byte_of_a_table_is_noticed():
    table = written(SOME, SOME_OLD_SIZE)
    for end in range(len(table)):
        with pytest.raises(IntegrityError):
            decode_windows(table[:end])
    intact = list(decode_windows(table))
    for at in range(len(table)):
        damaged = table[:at] + bytes([table[at] ^ 0x41]) + table[at + 1 :]
        try:
            assert list(decode_windows(damaged)) == intact
        except IntegrityError:
            continue


def test_a_bomb_is_refused_without_being_unpacked():
    with pytest.raises(IntegrityError, match="more than the 10 bytes"):
        decode_windows(b"\x01\x0a" + compress(bytes(1 << 28)))
    with pytest.raises(IntegrityError, match="body length"):
        decode_windows(b"\x01" + b"\xff" * 8 + b"\x7f" + compress(b""))


BAD = {
    "holds of another size": ([Op(OpKind.ZERO, 5)], 0, 6, "makes 5 bytes of a content of 6"),
    "makes too much": ([Op(OpKind.ZERO, 7)], 0, 6, "op length of 7"),
}


@pytest.mark.parametrize(("operations", "at", "value", "says"), BAD.values(), ids=BAD)
def test_lengths_must_add_up(operations, at, value, says):
    body = bytearray(body_of(written(operations)))
    body[at] = value
    with pytest.raises(IntegrityError, match=says):
        decode_windows(reframed(bytes(body)))


@pytest.mark.parametrize(
    ("op", "says"),
    [
        (Op(OpKind.COPY, 10, 95, 10), "takes bytes 95 to 105 of an old version of 100"),
        (Op(OpKind.COPY, 10, -5, 10), "takes bytes -5 to 5"),
        (Op(OpKind.PREFIX, 10, 50, 51, DIGEST, BlobRef("p", 0, 1)), "takes bytes 50 to 101"),
        (Op(OpKind.PATCH, 10, 0, MAX_OLD_LENGTH + 1, DIGEST, BlobRef("p", 0, 1)), "old length"),
        (Op(OpKind.PATCH, 10, 0, 5, None, BlobRef("p", 0, 1)), "PATCH op without a digest"),
        (Op(OpKind.ZERO, 10, digest=DIGEST), "ZERO op with a digest"),
        (Op(OpKind.LITERAL, MAX_OP_LENGTH + 1, digest=DIGEST, payload=BlobRef("p", 0, 1)), "op length"),
        (Op(OpKind.COPY, 0, 0, 0), "makes nothing"),
        (Op(OpKind.LITERAL, 5, digest=DIGEST, payload=BlobRef("p", 0, 0)), "payload of 0 bytes"),
        (Op(OpKind.LITERAL, 5, digest=DIGEST, payload=BlobRef("p", -7, 3)), "payload of 3 bytes at -7"),
        (Op(OpKind.LITERAL, 5, digest=DIGEST, payload=BlobRef("p" * 256, 0, 3)), "pack name"),
    ],
)
def test_an_op_that_cannot_be_is_refused(op, says):
    with pytest.raises(IntegrityError, match=says):
        decode_windows(written([op], 100))


def test_a_table_of_another_version_is_refused():
    table = written(SOME, SOME_OLD_SIZE)
    with pytest.raises(IntegrityError, match="version 2, not 1"):
        decode_windows(b"\x02" + table[1:])
    with pytest.raises(IntegrityError, match="version none"):
        decode_windows(b"")
