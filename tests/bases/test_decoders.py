"""Decoders of restic's structures: whatever bytes they are given, a right value or one of our errors."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from restic_forms import MASTER, TREE, index_of, key_file, seal
from zdiffsync.bases.index import Index
from zdiffsync.bases.keys import Key, unlock
from zdiffsync.bases.nodes import decode_tree
from zdiffsync.errors import IntegrityError
from zdiffsync.store.secret import Secret


def flipped(data, changes):
    data = bytearray(data)
    for at, bit in changes:
        data[at % len(data)] ^= 1 << bit
    return bytes(data)


FLIPS = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 7)), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"d"', b'".."'), (b'"d"', b'"a/b"'), (b'"d"', b'""'), (b'"d"', b'"\\u0000"'),
        (b"ef" * 32, b"ef" * 31), (b"ef" * 32, b""), (b"ab" * 32, b"ab" * 31), (b"ab" * 32, b"gg" * 32),
        (b'"linktarget"', b'"subtree": "x", "linktarget"'), (b"24T05", b"31T05"),
        (b"9999-12-31T23:59:59Z", b"later"), (b'"size": 9', b'"size": -9'),
        (b'"size": 9', b'"size": 99999999999999999999999999'), (b'"inode": 7', b'"inode": "7"'),
    ],
)  # fmt: skip
def test_what_no_file_system_holds_is_refused(old, new):
    assert old in TREE
    with pytest.raises(IntegrityError, match="does not parse"):
        decode_tree(TREE.replace(old, new, 1))


@given(st.dictionaries(
    st.binary(min_size=32, max_size=32),
    st.lists(st.tuples(
        st.binary(min_size=32, max_size=32), st.integers(0, 2**32 - 1), st.integers(32, 1 << 30),
        st.integers(0, 1 << 30),
    ), max_size=20),
    max_size=5,
))  # fmt: skip
@example({})
def test_every_blob_is_found_where_the_index_says(tmp_path_factory, blobs):
    folder = tmp_path_factory.mktemp("index")
    index = Index(folder)
    index.add("a", index_of(blobs))
    places = {}
    for pack, inside in blobs.items():
        for blob, offset, length, plain in inside:
            places.setdefault(blob, set()).add((pack.hex(), offset, length, plain))
    for opened in index, Index(folder):
        for blob, expected in places.items():
            place = opened.find(blob)
            assert (place.pack, place.offset, place.length, place.plain) in expected
            other = bytes([blob[0] ^ 1]) + blob[1:]
            assert other in places or opened.find(other) is None


def test_tables_of_index_files_that_are_gone_go(tmp_path):
    index = Index(tmp_path)
    index.add("old", index_of({b"p" * 32: [(b"a" * 32, 0, 50, 0)]}))
    index.add("new", index_of({b"q" * 32: [(b"a" * 32, 9, 50, 0)]}))
    index.keep(["new"])
    assert index.find(b"a" * 32).pack == (b"q" * 32).hex()
    assert [path.name for path in tmp_path.iterdir()] == ["new.table"]


@given(st.binary(max_size=2000), FLIPS)
def test_a_sealed_frame_opens_unless_a_bit_has_changed(content, changes):
    frame = seal(MASTER, content)
    key = Key(*MASTER)
    assert key.open(frame) == content
    changed = flipped(frame, changes)
    if changed != frame:
        with pytest.raises(IntegrityError):
            key.open(changed)
    with pytest.raises(IntegrityError):
        key.open(frame[: len(frame) // 2])


def test_a_key_file_opens_with_its_password_alone():
    assert unlock(key_file(), Secret(b"secret")) is not None
    assert unlock(key_file(), Secret(b"Secret")) is None


@pytest.mark.parametrize(
    "changes",
    [{"kdf": "argon2"}, {"N": 15}, {"N": -1}, {"N": 1 << 62}, {"N": 1 << 40}, {"r": 0}, {"p": 1 << 40},
     {"salt": "?"}, {"data": 7}, {"master": {"encrypt": "QQ=="}}, {"master": {"mac": None}}],
)  # fmt: skip
def test_a_key_file_with_impossible_values_is_damage(changes):
    with pytest.raises(IntegrityError, match="key"):
        unlock(key_file(**changes), Secret(b"secret"))
