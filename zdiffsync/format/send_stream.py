"""Reading a `zfs send -i A B` stream for what it touches, not for its data.

The coverage certificate of the nightly flow: every changed object and byte range stands in it,
also the changes `zfs diff` cannot see (stale parents, late mmap stores, held-open deletes).
Rule: a stream that does not end in END, or holds what we do not know, is refused whole.

Source: struct dmu_replay_record in OpenZFS include/sys/zfs_ioctl.h (records of 312 bytes plus
payload), SA layout of znodes in module/zfs/zfs_sa.c; see docs/send-stream.md.
"""

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import BinaryIO

from zdiffsync.errors import IntegrityError

RECORD_SIZE = 312
_MAGIC = 0x2F5BACBAC
_TO_END = (1 << 64) - 1
_PLAIN_FILE, _DIRECTORY = 19, 20
_OBJSET_FILE_SYSTEM = 2
_MAX_PAYLOAD = 32 << 20  # bytes; blocks end at 16 MiB

# znode attributes at fixed offsets behind the SA header of a version-5 file system
_SA_MAGIC = 0x2F505A
_SA_NEEDED = 128
_SA_HEADER = 8
_FLAG_XATTR = 0x1
_MODE = 0xFFFF  # the field has 64 bits, a mode 16
_SPILL_UNMODIFIED = 4


class _Kind(IntEnum):
    """Record types, enum drr_type in C."""

    OBJECT = 1
    FREEOBJECTS = 2
    WRITE = 3
    FREE = 4
    END = 5
    SPILL = 7
    WRITE_EMBEDDED = 8
    OBJECT_RANGE = 9


_KNOWN = frozenset(_Kind)
_OF_OBJECT = frozenset((_Kind.WRITE, _Kind.FREE, _Kind.SPILL, _Kind.WRITE_EMBEDDED))


@dataclass(slots=True)
class StreamObject:
    """One object the stream mentions.

    `written` tells that data was written, not only its dnode's block rewritten; `holed` that blocks inside
    a regular file were reported as holes, which ZFS also does where nothing changed.
    `ranges` are (start, end) in bytes, ascending; from `tail` on nothing of the old is left.
    `ctime_ns`, `links`, `generation` and `parent` (the number of the directory it was last linked into) come
    from the object itself, None when they cannot be read; `nameless` objects are ZFS's own (delete queue,
    extended attributes): no path leads to them.
    """

    number: int
    directory: bool
    written: bool = False
    holed: bool = False
    ranges: list[tuple[int, int]] = field(default_factory=list)
    tail: int | None = None
    ctime_ns: int | None = None
    links: int | None = None
    generation: int | None = None
    parent: int | None = None
    nameless: bool = False
    file_size: int = 0

    def add(self, offset: int, length: int) -> None:
        """Note a changed range, joining it with the one before when they touch."""
        end = offset + length
        if self.ranges and offset <= self.ranges[-1][1]:
            start, last = self.ranges.pop()
            self.ranges.append((start, max(last, end)))
        else:
            self.ranges.append((offset, end))


def read_objects(stream: BinaryIO) -> Iterator[StreamObject]:
    """Yield each object of an incremental stream once, in ascending order, when it is complete.

    Raises IntegrityError for a stream that is truncated, compound, of a volume, or unknown.
    """
    order = _read_begin(stream)
    current: StreamObject | None = None
    while True:
        record = _exactly(stream, RECORD_SIZE)
        kind, number = struct.unpack_from(order + "IxxxxQ", record)
        if kind in {_Kind.OBJECT, _Kind.END} and current:
            yield current
        if kind == _Kind.END:
            return
        if kind not in _KNOWN:
            raise IntegrityError(f"send stream has a record of unknown type {kind}; cannot certify this run")
        payload = _payload(kind, order, record)
        if kind == _Kind.OBJECT:
            current = _open_object(order, record, _exactly(stream, payload))
            continue
        _skip(stream, payload)
        if kind in _OF_OBJECT and current and number == current.number:
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
        item.nameless = True  # master node, delete queue and their like: nothing a user can name
        return item
    if len(bonus) < _SA_HEADER or struct.unpack_from(order + "I", bonus)[0] != _SA_MAGIC:
        return item
    header = (struct.unpack_from(order + "H", bonus, 4)[0] >> 10) * 8
    if len(bonus) < header + _SA_NEEDED:
        return item
    values = struct.unpack_from(order + "16Q", bonus, header)
    item.generation, item.parent, item.links = values[2], values[5], values[15]
    item.file_size = values[1] if stat.S_ISREG(values[0] & _MODE) else 0
    item.nameless = bool(values[6] & _FLAG_XATTR)
    item.ctime_ns = values[11] * 10**9 + values[12]
    return item


def _apply(kind: int, order: str, record: bytes, item: StreamObject) -> None:
    if kind == _Kind.SPILL:
        item.written |= not record[32] & _SPILL_UNMODIFIED
        return
    offset, length = struct.unpack_from(order + "QQ", record, 24 if kind == _Kind.WRITE else 16)
    if length == _TO_END:
        item.tail = offset
        return
    item.add(offset, length)
    if kind == _Kind.FREE:
        item.holed |= offset < item.file_size
    else:
        item.written = True


def _payload(kind: int, order: str, record: bytes) -> int:
    """Return how many bytes follow a record. Raises IntegrityError when that cannot be."""

    def word(offset: int, size: str = "Q") -> int:
        value: int = struct.unpack_from(order + size, record, offset)[0]
        return value

    match kind:
        case _Kind.OBJECT:
            length = word(36, "I") or _padded(word(28, "I"))
        case _Kind.WRITE:
            length = word(96) if record[50] else word(32)
        case _Kind.SPILL:
            length = word(40) or word(16)
        case _Kind.WRITE_EMBEDDED:
            length = _padded(word(52, "I"))
        case _:
            length = 0
    if length > _MAX_PAYLOAD:
        raise IntegrityError(f"send stream declares a payload of {length} bytes; it is damaged")
    return length


def _padded(length: int) -> int:
    return (length + 7) // 8 * 8


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
