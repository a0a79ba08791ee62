r"""What restic knows of one file: its JSON records turned into exact values.

Read by the restic door from `restic cat tree` (exact, complete) and `restic ls --json` (fast, but without
link counts, targets, device numbers and xattrs). Rule: names and targets leave here as the bytes on disk.

Formats: internal/data/node.go of restic 0.18 and 0.19. Names are quoted by Go's strconv.Quote; modes are
Go's os.FileMode; times are RFC 3339 with up to nine decimals, years clamped to 0000..9999.
"""

import functools
import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from zdiffsync.errors import IntegrityError
from zdiffsync.model.entry import Entry, EntryType

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOUR_CENTURIES = 146_097 * 86_400  # seconds; the Gregorian calendar repeats after them
_TIME = re.compile(r"(.{19})(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_GO_TYPES = (
    (1 << 31, stat.S_IFDIR),
    (1 << 27, stat.S_IFLNK),
    (1 << 25, stat.S_IFIFO),
    (1 << 24, stat.S_IFSOCK),
    (1 << 21, stat.S_IFCHR),  # set together with 1 << 26, so it is asked first
    (1 << 26, stat.S_IFBLK),
)
_GO_PERMISSIONS = ((1 << 23, stat.S_ISUID), (1 << 22, stat.S_ISGID), (1 << 20, stat.S_ISVTX))
_QUOTED = re.compile(rb"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))", re.DOTALL)
_SINGLE = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


@dataclass(frozen=True, slots=True)
class ListedNode:
    """One object as a listing shows it; `mode` is 0o7777 at most, `size` in bytes (0 unless a file)."""

    type: EntryType
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    inode: int


@dataclass(frozen=True, slots=True)
class ResticNode:
    """One object of a stored directory: everything restic recorded that a restore must reproduce.

    `inode` and `links` are those of the file system that was backed up: names that share an inode number
    and have links > 1 are one object. restic counts no links of directories and fifos (0).
    """

    name: bytes
    entry: Entry
    inode: int
    links: int


class _Xattr(msgspec.Struct, gc=False):
    name: str
    value: bytes | None = None


_Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)]
_Size = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class TreeNode(msgspec.Struct, gc=False):  # no cycles: spares the collector 100,000 at a time
    """One name in a stored directory, as far as both readers of trees need it."""

    name: str
    mtime: str
    uid: _Number
    gid: _Number
    mode: int = 0
    inode: int = 0
    size: _Size = 0
    links: _Number = 0
    linktarget: str = ""
    linktarget_raw: bytes | None = None
    extended_attributes: list[_Xattr] | None = None
    device: int = 0


class _Tree(msgspec.Struct):
    nodes: list[TreeNode]


class ListedRecord(msgspec.Struct):
    """One line of `restic ls --json`; the first one describes the snapshot and has no path."""

    path: str = ""
    mtime: str = ""
    uid: int = 0
    gid: int = 0
    mode: int = 0
    inode: int = 0
    size: int = 0

    def node(self) -> ListedNode:
        """Return the metadata. Raises ValueError when it is not what Linux can have."""
        kind, permissions = _type_and_permissions(self.mode)
        return ListedNode(
            type=kind,
            mode=permissions,
            uid=self.uid,
            gid=self.gid,
            mtime_ns=nanoseconds(self.mtime),
            size=self.size,
            inode=self.inode,
        )


@functools.lru_cache(4096)
def _type_and_permissions(go_mode: int) -> tuple[EntryType, int]:
    mode = posix_mode(go_mode)
    return EntryType.of_mode(mode), stat.S_IMODE(mode)


def posix_mode(go_mode: int) -> int:
    """Turn Go's os.FileMode into a `st_mode`: type, setuid, setgid, sticky and permission bits."""
    mode = go_mode & 0o777
    for go_bit, bit in _GO_PERMISSIONS:
        if go_mode & go_bit:
            mode |= bit
    return mode | next((kind for go_bit, kind in _GO_TYPES if go_mode & go_bit), stat.S_IFREG)


def nanoseconds(text: str) -> int:
    """Return nanoseconds since 1970 of a Go time. Raises ValueError when it is none."""
    match = _TIME.fullmatch(text)
    if not match:
        raise ValueError(f"not a time: {text!r}")
    moment, fraction, zone = match.groups()
    return _seconds(moment, zone) * 1_000_000_000 + (int(fraction.ljust(9, "0")) if fraction else 0)


@functools.lru_cache(4096)  # the files of a directory are often of a few seconds
def _seconds(moment: str, zone: str) -> int:
    shift = 0
    if moment.startswith("0000"):  # Python's years begin at 1, restic's clamp at 0
        moment, shift = "0400" + moment[4:], -_FOUR_CENTURIES
    elapsed = datetime.fromisoformat(moment + zone) - _EPOCH
    return elapsed.days * 86_400 + elapsed.seconds + shift


def unquote(name: str) -> bytes:
    r"""Undo Go's strconv.Quote (`\xff`, `\n`, `\u2028`, …), giving the bytes of a file name."""
    encoded = name.encode()
    return _QUOTED.sub(_unescape, encoded) if b"\\" in encoded else encoded


def _unescape(match: re.Match[bytes]) -> bytes:
    byte, short, long, single = match.groups()
    if byte:
        return bytes([int(byte, 16)])
    if single:
        return _SINGLE.get(single, single)
    return chr(int(short or long, 16)).encode()


def parse_tree(data: bytes) -> list[ResticNode]:
    """Parse the JSON of one stored directory, in restic's order (by name).

    Raises IntegrityError when it does not have the form restic writes.
    """
    try:
        tree = msgspec.json.decode(data, type=_Tree)
        return [_node(record) for record in tree.nodes]
    except ValueError as error:  # msgspec's own errors are ValueErrors too
        raise IntegrityError(f"A directory stored by restic does not parse ({error}).") from error


def _node(record: TreeNode) -> ResticNode:
    return ResticNode(unquote(record.name), entry_of(record), record.inode, record.links)


def entry_of(record: TreeNode) -> Entry:
    """Return the metadata of a stored name. Raises ValueError when it is not what Linux can have."""
    kind, permissions = _type_and_permissions(record.mode)
    target = None
    if kind is EntryType.SYMLINK:
        target = record.linktarget_raw or record.linktarget.encode()
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    if record.extended_attributes:
        xattrs = tuple(sorted((each.name.encode(), each.value or b"") for each in record.extended_attributes))
    return Entry(
        kind,
        permissions,
        record.uid,
        record.gid,
        nanoseconds(record.mtime),
        record.size if kind is EntryType.FILE else 0,
        record.device if kind is EntryType.BLOCK or kind is EntryType.CHARACTER else 0,
        target,
        xattrs,
    )
