"""Zstandard frames: the one module that knows where zstd comes from (standard library or backport).

Manifests stream through `ZstdFile`; op payloads and tables are single frames made here.
Rule: nothing is decompressed without a limit, and damage is an IntegrityError, never a ZstdError.
"""

import sys

from zdiffsync.errors import IntegrityError

if sys.version_info >= (3, 14):
    from compression.zstd import (
        CompressionParameter,
        ZstdCompressor,
        ZstdDecompressor,
        ZstdDict,
        ZstdError,
        ZstdFile,
    )
else:
    from backports.zstd import (
        CompressionParameter,
        ZstdCompressor,
        ZstdDecompressor,
        ZstdDict,
        ZstdError,
        ZstdFile,
    )

__all__ = [
    "QUICKEST",
    "STRONGEST",
    "CompressionParameter",
    "ZstdError",
    "ZstdFile",
    "compress",
    "compress_prefixed",
    "decompress",
    "decompress_prefixed",
]

QUICKEST, STRONGEST = 1, 19

# The widest window every decoder accepts without being told to (zstd's own default limit).
_MAX_WINDOW_LOG = 27
_MIN_WINDOW_LOG = 10
# zstd sizes its match tables by the data alone; left so, all but the end of a long prefix is forgotten.
_MAX_TABLE_LOG = 20
_MAX_NEAR_LOG = 24
# From this level on every position is remembered, where the levels before skip most.
_THOROUGH, _MAX_THOROUGH_LOG = 5, 22
# The strongest level's search tree holds every position; 128 MiB where the window is the widest written.
_MAX_TREE_LOG = 25
# zstd takes no shorter prefix; so short a one has nothing to give.
_MIN_PREFIX = 8


_USUAL = 3
_idle: list[ZstdCompressor] = []  # of the usual level; as many as threads compress at once


def compress(data: bytes | memoryview, level: int = _USUAL) -> bytes:
    """Return `data` as one checksummed zstd frame made at `level` (1 to 19)."""
    if level != _USUAL:
        return _compressor(level).compress(data, ZstdCompressor.FLUSH_FRAME)
    # Making a compressor takes ten times longer than compressing a small file.
    try:
        compressor = _idle.pop()
    except IndexError:
        compressor = _compressor(level)
    frame = compressor.compress(data, ZstdCompressor.FLUSH_FRAME)
    _idle.append(compressor)  # not where it broke off within a frame
    return frame


def _compressor(level: int) -> ZstdCompressor:
    return ZstdCompressor(
        options={CompressionParameter.compression_level: level, CompressionParameter.checksum_flag: 1}
    )


def decompress(data: bytes | memoryview, limit: int) -> bytes:
    """Return the content of the one zstd frame `data`, at most `limit` bytes long.

    Raises IntegrityError if the frame is damaged, cut short, followed by other bytes, or longer than `limit`.
    """
    return _decompress(ZstdDecompressor(), data, limit)


def compress_prefixed(data: bytes | memoryview, prefix: bytes | memoryview, level: int = 3) -> bytes:
    """Return `data` as one zstd frame that refers to `prefix` (a raw-content prefix, as `zstd --patch-from`).

    The frame carries no checksum: the caller keeps a digest, since a wrong prefix gives wrong bytes.
    """
    reach = max((len(prefix) + len(data)).bit_length(), _MIN_WINDOW_LOG)
    # Long distance matching breaks up what databases and binaries share: for what no table can hold alone.
    tables = _MAX_TABLE_LOG if level < _THOROUGH else _MAX_THOROUGH_LOG
    tree = _MAX_TREE_LOG if level >= STRONGEST else tables
    compressor = ZstdCompressor(
        options={
            CompressionParameter.compression_level: level,
            CompressionParameter.window_log: min(reach, _MAX_WINDOW_LOG),
            CompressionParameter.hash_log: min(reach, tables),
            CompressionParameter.chain_log: min(reach, tree),
            CompressionParameter.enable_long_distance_matching: int(reach > _MAX_NEAR_LOG),
        },
        zstd_dict=_prefix(prefix),
    )
    return compressor.compress(data, ZstdCompressor.FLUSH_FRAME)


def decompress_prefixed(data: bytes | memoryview, prefix: bytes | memoryview, limit: int) -> bytes:
    """Return what `compress_prefixed` made `data` from, given the same `prefix`; at most `limit` bytes.

    Raises IntegrityError if the frame is damaged or too long. A wrong `prefix` may go unnoticed.
    """
    return _decompress(ZstdDecompressor(_prefix(prefix)), data, limit)


def _prefix(prefix: bytes | memoryview) -> tuple[ZstdDict, int] | None:
    return ZstdDict(prefix, is_raw=True).as_prefix if len(prefix) >= _MIN_PREFIX else None


def _decompress(decoder: ZstdDecompressor, data: bytes | memoryview, limit: int) -> bytes:
    try:
        # One byte more than allowed tells "too long" from "exactly as long as allowed".
        content = decoder.decompress(data, limit + 1)
    except ZstdError as error:
        raise IntegrityError(f"a compressed frame of {len(data)} bytes is damaged: {error}") from error
    if len(content) > limit:
        raise IntegrityError(
            f"a compressed frame of {len(data)} bytes holds more than the {limit} bytes it may"
        )
    if not decoder.eof:
        raise IntegrityError(f"a compressed frame is cut short after {len(data)} bytes")
    if decoder.unused_data:
        raise IntegrityError(f"a compressed frame is followed by {len(decoder.unused_data)} foreign bytes")
    return content
