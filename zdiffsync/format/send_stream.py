"""Reading a `zfs send -i A B` stream for what it touches, not for its data.

The coverage certificate of the nightly flow: every changed object and byte range stands in it,
also the changes `zfs diff` cannot see (stale parents, late mmap stores, held-open deletes).
Rule: a stream that does not end in END, or holds what we do not know, is refused whole.

Source: struct dmu_replay_record in OpenZFS include/sys/zfs_ioctl.h (records of 312 bytes plus
payload), SA layout of znodes in module/zfs/zfs_sa.c; see docs/send-stream.md.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from zdiffsync.errors import IntegrityError

RECORD_SIZE = 312
_MAGIC = 0x2F5BACBAC
_TO_END = (1 << 64) - 1
_PLAIN_FILE, _DIRECTORY = 19, 20
_OBJSET_FILE_SYSTEM = 2
_FEATURE_RAW = 1 << 24
_MAX_PAYLOAD = 32 << 20  # bytes; blocks end at 16 MiB

# znode attributes at fixed offsets behind the SA header of a version-5 file system
_SA_MAGIC = 0x2F505A
_SA_NEEDED = 128
_FLAG_XATTR = 0x1


@dataclass(slots=True)
class StreamObject:
    """One object the stream mentions.

    `touched` tells that data was written or freed, not only its dnode's block rewritten.
    `ranges` are (offset, length) in bytes, ascending; from `tail` on nothing of the old is left.
    `ctime_ns`, `links`, `generation` come from the object itself, None when they cannot be read.
    """

    number: int
    directory: bool
    touched: bool = False
    ranges: list[tuple[int, int]] = field(default_factory=list)
    tail: int | None = None
    ctime_ns: int | None = None
    links: int | None = None
    generation: int | None = None
    is_xattr: bool = False

    def add(self, offset: int, length: int) -> None:
        """Note a changed range, joining it with the one before when they touch."""
        self.touched = True
        if self.ranges:
            last_offset, last_length = self.ranges[-1]
            if offset <= last_offset + last_length:
                end = max(last_offset + last_length, offset + length)
                self.ranges[-1] = (last_offset, end - last_offset)
                return
        self.ranges.append((offset, length))


def read_objects(stream: BinaryIO) -> Iterator[StreamObject]:
    """Yield each object of an incremental stream once, in ascending order, when it is complete.

    Raises IntegrityError for a stream that is truncated, compound, of a volume, or unknown.
    """
    order = _read_begin(stream)
    current: StreamObject | None = None
    while True:
        record = _exactly(stream, RECORD_SIZE)
        kind = struct.unpack_from(order + "I", record)[0]
        if kind == 5:  # noqa: PLR2004 - record types are the numbers of the C enum
            if current:
                yield current
            return
        reader = _READERS.get(kind)
        if reader is None:
            raise IntegrityError(f"send stream has a record of unknown type {kind}; cannot certify this run")
        payload, number = reader.payload(order, record), reader.object(order, record)
        if kind == 1:
            if current:
                yield current
            current = _open_object(order, record, _exactly(stream, payload))
            continue
        if payload:
            _skip(stream, payload)
        if current and number == current.number:
            _apply(kind, order, record, current)


def _read_begin(stream: BinaryIO) -> str:
    record = _exactly(stream, RECORD_SIZE)
    order = next((o for o in "<>" if struct.unpack_from(o + "Q", record, 8)[0] == _MAGIC), None)
    if order is None or struct.unpack_from(order + "I", record)[0] != 0:
        raise IntegrityError("this is not a zfs send stream")
    (version,) = struct.unpack_from(order + "Q", record, 16)
    if version & 3 != 1:
        raise IntegrityError("send stream is compound (-R, -I or -p); only plain -i streams are read")
    if struct.unpack_from(order + "I", record, 32)[0] != _OBJSET_FILE_SYSTEM:
        raise IntegrityError("send stream is not of a file system")
    (payload,) = struct.unpack_from(order + "I", record, 4)
    _skip(stream, payload)
    return order


def _open_object(order: str, record: bytes, bonus: bytes) -> StreamObject:
    (number,) = struct.unpack_from(order + "Q", record, 8)
    (kind,) = struct.unpack_from(order + "I", record, 16)
    item = StreamObject(number, kind == _DIRECTORY)
    if kind not in (_PLAIN_FILE, _DIRECTORY):
        item.is_xattr = True  # master node, delete queue and their like: nothing a user can name
        return item
    if len(bonus) < 8 or struct.unpack_from(order + "I", bonus)[0] != _SA_MAGIC:  # noqa: PLR2004 - header size
        return item
    header = (struct.unpack_from(order + "H", bonus, 4)[0] >> 10) * 8
    if len(bonus) < header + _SA_NEEDED:
        return item
    values = struct.unpack_from(order + "16Q", bonus, header)
    item.generation, item.links = values[2], values[15]
    item.is_xattr = bool(values[6] & _FLAG_XATTR)
    item.ctime_ns = values[11] * 10**9 + values[12]
    return item


def _apply(kind: int, order: str, record: bytes, item: StreamObject) -> None:
    if kind == 7:  # noqa: PLR2004 - SPILL: attributes too long for the dnode
        if not record[32] & 4:
            item.touched = True
        return
    if kind == 3:  # noqa: PLR2004 - WRITE
        offset, length = struct.unpack_from(order + "QQ", record, 24)
    else:
        offset, length = struct.unpack_from(order + "QQ", record, 16)
    if length == _TO_END:
        item.tail = offset
    else:
        item.add(offset, length)


class _Reader:
    """Where a record type keeps its object number and how long its payload is."""

    def __init__(self, payload_at: str, *, object_at: int | None = 8) -> None:
        self._payload_at = payload_at
        self._object_at = object_at

    def object(self, order: str, record: bytes) -> int | None:
        if self._object_at is None:
            return None
        number: int = struct.unpack_from(order + "Q", record, self._object_at)[0]
        return number

    def payload(self, order: str, record: bytes) -> int:
        def word(offset: int, size: str = "Q") -> int:
            value: int = struct.unpack_from(order + size, record, offset)[0]
            return value

        length = {
            "none": lambda: 0,
            "object": lambda: word(36, "I") or (word(28, "I") + 7) // 8 * 8,
            "write": lambda: word(96) if record[50] else word(32),
            "spill": lambda: word(40) or word(16),
            "embedded": lambda: (word(52, "I") + 7) // 8 * 8,
        }[self._payload_at]()
        if length > _MAX_PAYLOAD:
            raise IntegrityError(f"send stream declares a payload of {length} bytes; it is damaged")
        return length


_READERS = {
    1: _Reader("object"),
    2: _Reader("none", object_at=None),
    3: _Reader("write"),
    4: _Reader("none"),
    7: _Reader("spill"),
    8: _Reader("embedded"),
    9: _Reader("none", object_at=None),
}


def _exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length) if length else b""
    if len(data) != length:
        raise IntegrityError("send stream ended early")
    return data


def _skip(stream: BinaryIO, length: int) -> None:
    while length:
        data = stream.read(min(length, 1 << 20))
        if not data:
            raise IntegrityError("send stream ended early")
        length -= len(data)
