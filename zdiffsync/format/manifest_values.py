"""What may stand in a record of a manifest: the JSON of each kind, typed and bounded.

Under format.manifest, which turns these into records. Rule: what no run writes is refused where it is read,
so that nobody behind it has to expect a name with a slash or a size that no integer of SQLite holds.
"""

import os
from typing import Annotated, Any

import msgspec
from msgspec import Meta

MAX_NUMBER = (1 << 63) - 1  # SQLite's largest integer
MAX_WHOLE = 1 << 30  # bytes of a content that is one blob, and so has to fit in memory
MAX_BLOB = 2 << 30  # bytes of such a blob, or of an encoded op table
MAX_DEPTH = 100  # deltas on each other; a reader goes down a few calls for each
MAX_LINE = 256 << 20  # bytes of a line; one of a million skipped paths has some 100 MB
_MAX_NESTING = 8  # of lists and objects in the statistics
_MAX_TIME = MAX_NUMBER * 10**9  # a kernel's seconds are 64 bits

Number = Annotated[int, Meta(ge=0, le=MAX_NUMBER)]
Counted = Annotated[int, Meta(ge=1, le=MAX_NUMBER)]
Guid = Annotated[int, Meta(ge=0)]  # 64 bits without a sign, kept as text
Id = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
LongId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Dataset = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_.:/ %-]*\Z")]
Label = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+\Z")]
Snapshot = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_.:/ %-]*@[A-Za-z0-9_.: %-]+\Z")]
_Mode = Annotated[int, Meta(ge=0, le=0o7777)]
_Owner = Annotated[int, Meta(ge=0, le=(1 << 32) - 1)]
_Depth = Annotated[int, Meta(ge=0, le=MAX_DEPTH)]


class PackJson(msgspec.Struct, forbid_unknown_fields=True):
    """A pack."""

    pack: LongId
    size: Number
    sha256: Digest


class ContentJson(msgspec.Struct, forbid_unknown_fields=True):
    """A content."""

    content: Counted
    size: Number
    digest: Digest
    windowed: bool
    blob: tuple[LongId, Number, Counted] | None
    packs: dict[LongId, Number]
    source: Number | None
    source_path: str | None
    depth: _Depth

    def __post_init__(self) -> None:
        """Check what types alone cannot. ValueError says what."""
        if self.source is not None and self.source >= self.content:
            raise ValueError(f"content {self.content} is made from the later one {self.source}")
        _pack, offset, length = self.blob or ("", 0, 0)
        if length > MAX_BLOB or offset > MAX_NUMBER - length or (self.size > MAX_WHOLE and not self.windowed):
            raise ValueError(f"content {self.content} does not fit in memory")


class ObjectJson(msgspec.Struct, forbid_unknown_fields=True):
    """An object."""

    object: Counted
    zfs: tuple[Number, Number]
    base: str | None


class VersionJson(msgspec.Struct, forbid_unknown_fields=True):
    """A version: the object's number and content, and its entry."""

    version: Counted
    content: Number | None
    type: str
    mode: _Mode
    uid: _Owner
    gid: _Owner
    mtime_ns: int
    size: Number
    rdev: Number
    target: str | None
    xattrs: list[tuple[str, str]]

    def __post_init__(self) -> None:
        """Check what types alone cannot. ValueError says what."""
        if abs(self.mtime_ns) > _MAX_TIME:
            raise ValueError(f"not a time: {self.mtime_ns}")


class NameJson(msgspec.Struct, forbid_unknown_fields=True):
    """A name."""

    name: str
    parent: Counted
    child: Counted | None


class LinksJson(msgspec.Struct, forbid_unknown_fields=True):
    """All names of an object."""

    links: tuple[Number, Number]
    names: list[str]


class _Stats(msgspec.Struct):
    """Those of the statistics that anything is computed with."""

    files_total: Number | None = None
    bytes_total: Number | None = None
    created: Number = 0
    modified: Number = 0
    metadata_only: Number = 0
    names_removed: Number = 0
    uploaded_bytes: Number = 0
    quiet: list[Number] = []
    skipped_paths: list[Annotated[str, Meta(pattern=r"^([0-9a-f]{2})*\Z")]] = []


class EndJson(msgspec.Struct, forbid_unknown_fields=True):
    """The end line."""

    end: Number
    stats: dict[str, Any]

    def __post_init__(self) -> None:
        """Check what types alone cannot. ValueError says what."""
        if not _flat(self.stats, _MAX_NESTING):
            raise ValueError("its statistics are nested too deep")
        for path in msgspec.convert(self.stats, _Stats).skipped_paths:
            path_bytes(os.fsdecode(bytes.fromhex(path)))


def _flat(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return not inner or (levels > 0 and all(_flat(each, levels - 1) for each in inner))


def name_bytes(text: str) -> bytes:
    """Return a file's name. Raises ValueError for what no directory can hold."""
    name = os.fsencode(text)
    if not name or b"/" in name or _strange(name):
        raise ValueError(f"not a name: {name!r}")
    return name


def path_bytes(text: str) -> bytes:
    """Return a path below a dataset's root, b'' for the root. Raises ValueError for one that leads out."""
    path = os.fsencode(text)
    if path and _strange(path):
        raise ValueError(f"not a path: {path!r}")
    return path


def plain_bytes(text: str) -> bytes:
    """Return bytes that end at a NUL for the kernel: a target, the key of an xattr. Raises ValueError."""
    data = os.fsencode(text)
    if not data or b"\0" in data:
        raise ValueError(f"no target or attribute: {data!r}")
    return data


def _strange(path: bytes) -> bool:
    whole = b"/" + path + b"/"
    return b"\0" in path or b"//" in whole or b"/./" in whole or b"/../" in whole
