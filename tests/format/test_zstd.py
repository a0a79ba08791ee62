import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zdiffsync.errors import IntegrityError
from zdiffsync.format.zstd import compress, compress_prefixed, decompress, decompress_prefixed


@given(st.binary(max_size=3000))
def test_what_is_compressed_comes_back(data):
    assert decompress(compress(data), len(data)) == data


@given(st.binary(max_size=2000), st.binary(max_size=2000))
def test_what_is_compressed_with_a_prefix_comes_back(data, prefix):
    assert decompress_prefixed(compress_prefixed(data, prefix), prefix, len(data)) == data


def test_a_prefix_is_used_over_its_whole_length():
    prefix = random.Random(1).randbytes(5 << 20)
    assert len(compress_prefixed(prefix[:65536], prefix)) < 100
    assert len(compress_prefixed(prefix[:65536], b"")) > 65536


def test_a_result_longer_than_the_limit_is_refused_without_being_made():
    bomb = compress(bytes(1 << 28))
    with pytest.raises(IntegrityError, match="more than the 1000 bytes"):
        decompress(bomb, 1000)
    with pytest.raises(IntegrityError, match="more than the 0 bytes"):
        decompress(compress(b"x"), 0)


@given(st.data())
def test_any_flipped_bit_is_noticed(data):
    frame = bytearray(compress(bytes(range(256)) * 3))
    at = data.draw(st.integers(0, len(frame) - 1))
    frame[at] ^= 1 << data.draw(st.integers(0, 7))
    # A few header bits say how the frame is written, not what it holds: the same bytes are fine too.
    with contextlib.suppress(IntegrityError):
        assert decompress(bytes(frame), 768) == bytes(range(256)) * 3


def test_a_cut_frame_is_refused():
    frame = compress(b"some bytes" * 100)
    for end in range(len(frame)):
        with pytest.raises(IntegrityError):
            decompress(frame[:end], 1000)


def test_bytes_after_a_frame_are_refused():
    with pytest.raises(IntegrityError, match="followed by 3"):
        decompress(compress(b"data") + b"abc", 100)
