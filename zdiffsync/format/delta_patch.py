"""bsdiff patches as payloads: its three streams in one zstd frame.

One frame at a high level is smaller than bsdiff's own three bzip2 streams and costs a tenth of the diff.
Rule: the only module that knows bsdiff4.
"""

import struct

from bsdiff4 import core

from zdiffsync.errors import IntegrityError
from zdiffsync.format.delta_varint import Fields, put_int, put_uint
from zdiffsync.format.zstd import compress, decompress

_LEVEL = 19
_SIGN = 1 << 63
# bsdiff takes a new step only for more than 8 bytes, and a step is 12 bytes at most for windows' offsets.
_MOST_PER_BYTE = 3


def make_patch(old: bytes, new: bytes) -> bytes:
    """Return a payload that makes `new` from `old`.

    Takes about 20 bytes of memory per byte of `old`, and hours on repetitive input: DeltaPool bounds it.
    """
    control, diff, extra = core.diff(old, new)
    streams = bytearray()
    numbers = struct.unpack(f"<{len(control) // 8}Q", control)
    put_uint(streams, len(numbers) // 3)
    put_uint(streams, len(diff))
    for number in numbers:
        put_int(streams, -(number ^ _SIGN) if number & _SIGN else number)
    streams += diff
    streams += extra
    return compress(bytes(streams), _LEVEL)


def apply_patch(payload: bytes, old: bytes, length: int) -> bytes:
    """Return the `length` bytes that `payload` makes from `old`.

    Raises IntegrityError if the payload is damaged. A wrong `old` goes unnoticed: digest the result.
    """
    fields = Fields(decompress(payload, 64 + _MOST_PER_BYTE * length), "patch")
    count = fields.uint("number of steps", fields.left)
    diff_length = fields.uint("length of differences", length)
    control = b"".join(_encoded(fields.sint("step")) for _ in range(3 * count))
    diff = fields.take(diff_length, "differences")
    extra = fields.take(fields.left, "additions")
    try:
        made = core.patch(old, length, control, diff, extra)
    except ValueError as error:
        raise IntegrityError(f"a patch does not fit its content: {error}") from error
    assert isinstance(made, bytes)
    return made


def _encoded(number: int) -> bytes:
    return struct.pack("<Q", number if number >= 0 else _SIGN | -number)
