"""Manifests: the remote truth about one point, as zstd-compressed lines of JSON.

Written by backup.increment and backup.base, uploaded as the commit, read into the catalog.
Rule: self-contained. The manifests of a chain, in order, are all that rebuilding the catalog needs.

Names are JSON strings; bytes that are no UTF-8 stand as U+DC80..U+DCFF (PEP 383). Digests are hex,
xattr values base64. See docs/manifest-format.md.
"""

import base64
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from zdiffsync.errors import IntegrityError, UsageError, ZdiffsyncError
from zdiffsync.format.manifest_values import (
    MAX_LINE,
    ContentJson,
    Dataset,
    Digest,
    EndJson,
    Guid,
    Id,
    Label,
    LinksJson,
    LongId,
    NameJson,
    Number,
    ObjectJson,
    PackJson,
    Snapshot,
    VersionJson,
    name_bytes,
    path_bytes,
    plain_bytes,
)
from zdiffsync.format.windows import BlobRef
from zdiffsync.format.zstd import CompressionParameter, ZstdError, ZstdFile
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.model.staging import staging

FORMAT = 2
_CHUNK = 1 << 16  # bytes of lines that are compressed at once
IN_BASE = 0  # the content number that means: the base's file at the object's base path


@dataclass(frozen=True, slots=True)
class Header:
    """What the point is. Times in ns since 1970; `guid` and `parent_guid` are ZFS snapshot guids.

    The manifest holds the changes of the sequences `first` to `sequence` of its chain: forgotten points
    have been merged into it when these differ. Where `first` is 0 it holds the base: `restic` is its
    restic snapshot, `base_ns` its time. `keep`: no policy forgets the point.
    """

    repository: LongId
    chain: Id
    first: Number
    sequence: Number
    point: Id
    dataset: Dataset
    dataset_guid: Guid
    host: Label
    snapshot: Snapshot
    guid: Guid
    createtxg: Number
    created_ns: Number
    parent_guid: Guid | None
    restic: Digest | None
    base_ns: Number | None
    excludes: Id
    tags: tuple[Label, ...] = ()
    keep: bool = False

    @property
    def is_base(self) -> bool:
        """Whether this is a base itself, not one with later changes merged into it."""
        return self.sequence == 0


@dataclass(frozen=True, slots=True)
class PackRecord:
    """A pack this point uploaded: plain size in bytes and SHA-256."""

    pack: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ContentRecord:
    """A content: `digest` is the SHA-256 of the blob's plain bytes (the file, or its window table).

    `windowed` tells which; `packs` how many bytes of it lie in which pack; `source` the content number it
    is a delta of (IN_BASE: the base's file at `source_path`), None for a whole one; `depth` its delta depth.
    No `blob`: its bytes were lost and nothing can be made of it any more.
    """

    number: int
    size: int
    digest: str
    windowed: bool
    blob: BlobRef | None
    packs: dict[str, int] = field(hash=False)
    source: int | None = None
    source_path: bytes | None = None
    depth: int = 0

    @property
    def location(self) -> BlobRef:
        """Where its blob lies. Raises IntegrityError when it was lost."""
        if self.blob is None:
            raise IntegrityError(f"content {self.number} is lost: repair found no good copy of its bytes")
        return self.blob


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """An object that enters the overlay: its ZFS identity and, when the base has it, its path there."""

    number: int
    zfs_object: int
    generation: int
    base_path: bytes | None


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """An object's metadata and content from this point on."""

    object: int
    entry: Entry
    content: int | None


@dataclass(frozen=True, slots=True)
class NameRecord:
    """In directory object `parent`, `name` leads to object `child` from this point on (None: nowhere)."""

    parent: int
    name: bytes
    child: int | None


@dataclass(frozen=True, slots=True)
class LinksRecord:
    """The ledger: all paths of an object that has, or once had, several names (none: forget it)."""

    zfs_object: int
    generation: int
    names: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """The end of every manifest: what the run did, as shown to people (not needed to restore)."""

    stats: dict[str, Any]


Record = PackRecord | ContentRecord | ObjectRecord | VersionRecord | NameRecord | LinksRecord


class ManifestWriter:
    """Writes one manifest to a local file; `finish` must be called for it to be complete.

    All raises StagingError when the file cannot be written.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self._path = path
        with staging(path):
            # Without a checksum a flipped bit in a name or digest would be read as another name or digest.
            self._file = ZstdFile(path, "wb", options={CompressionParameter.checksum_flag: 1})
        self._count = 0
        self._lines = bytearray()
        self._line({"manifest": FORMAT, **asdict(header)})

    def add(self, record: Record) -> None:
        """Append a record; packs before contents before versions, objects before what names them."""
        self._count += 1
        self._line(encode(record))

    def finish(self, stats: dict[str, Any]) -> None:
        """Write the end line and close."""
        self._line({"end": self._count, "stats": stats})
        self._write()
        self._close()

    def _line(self, value: dict[str, Any]) -> None:
        line = _json(value) + b"\n"
        if len(line) > MAX_LINE:  # nothing would read it again
            raise ZdiffsyncError(
                f"a manifest's {next(iter(value))} record of {len(line)} bytes is longer than the {MAX_LINE} "
                "that can be read; exclude what makes it so"
            )
        self._lines += line
        if len(self._lines) >= _CHUNK:
            self._write()

    def _write(self) -> None:
        with staging(self._path):
            self._file.write(self._lines)
        self._lines.clear()

    def _close(self) -> None:
        with staging(self._path):
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._lines:
            self._write()
        self._close()


def read_manifest(path: Path, called: str | None = None) -> Iterator[Header | Record | Summary]:
    """Yield the header, every record, and last the summary; `called` names it in errors.

    Raises IntegrityError for a damaged or truncated manifest, UsageError for a newer format.
    """
    called = called or path.name
    count = 0
    ended = False
    try:
        with ZstdFile(path, "rb") as lines:
            yield _decode_header(json.loads(_line_of(lines) or b"null"))
            while line := _line_of(lines):
                found = _parsed(line)
                if ended:
                    raise IntegrityError(f"manifest {called} goes on behind its end")
                if isinstance(found, EndJson):
                    ended = True
                    if found.end != count:
                        raise IntegrityError(f"manifest {called} holds {count} of its {found.end} records")
                    yield Summary(found.stats)
                else:
                    count += 1
                    yield _record(found)
    except (ZstdError, EOFError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError(f"manifest {called} is damaged: {error}") from error
    if not ended:
        raise IntegrityError(f"manifest {called} is truncated after {count} records")


def _line_of(lines: ZstdFile) -> bytes:
    line: bytes = lines.readline(MAX_LINE + 1)
    if len(line) > MAX_LINE:
        raise ValueError(f"a line has more than {MAX_LINE} bytes")
    return line


def _json(value: dict[str, Any]) -> bytes:
    try:
        return _encode_json(value)
    except (UnicodeEncodeError, OverflowError):  # a path that is no UTF-8, a time beyond 64 bits
        return json.dumps(value, separators=(",", ":")).encode()


def _parsed(line: bytes) -> "_Json | EndJson":
    """Return a line's record, or the end. Raises ValueError or TypeError for what is neither.

    msgspec reads a line many times faster than json, which is asked about what msgspec does not know: lone
    surrogates, integers beyond 64 bits.
    """
    quick = _DECODERS.get(line[2 : line.find(b'"', 2)])
    if quick is not None:
        try:
            return quick(line)
        except msgspec.DecodeError:
            pass
    value = json.loads(line)
    return msgspec.convert(value, EndJson) if "end" in value else _typed(value)


def _decode_header(value: Any) -> Header:
    if not isinstance(value, dict) or "manifest" not in value:
        raise ValueError("its first line is no manifest header")
    if (number := value.pop("manifest")) != FORMAT:
        raise UsageError(f"manifest format {number} is not {FORMAT}, which this zdiffsync reads; upgrade it")
    if unknown := value.keys() - {field.name for field in fields(Header)}:
        raise ValueError(f"unknown keys in its header: {sorted(unknown)}")
    return msgspec.convert(value, Header)


def _text(path: bytes) -> str:
    return os.fsdecode(path)


def encode(record: Record) -> dict[str, Any]:
    """Return a record as JSON values."""
    match record:
        case PackRecord():
            return {"pack": record.pack, "size": record.size, "sha256": record.sha256}
        case ContentRecord():
            blob = record.blob
            return {
                "content": record.number, "size": record.size, "digest": record.digest,
                "windowed": record.windowed, "packs": record.packs,
                "blob": None if blob is None else [blob.pack, blob.offset, blob.length],
                "source": record.source, "depth": record.depth,
                "source_path": None if record.source_path is None else _text(record.source_path),
            }  # fmt: skip
        case ObjectRecord():
            base = None if record.base_path is None else _text(record.base_path)
            return {"object": record.number, "zfs": [record.zfs_object, record.generation], "base": base}
        case VersionRecord():
            return {"version": record.object, "content": record.content, **encode_entry(record.entry)}
        case NameRecord():
            return {"name": _text(record.name), "parent": record.parent, "child": record.child}
        case LinksRecord():
            return {
                "links": [record.zfs_object, record.generation],
                "names": [_text(name) for name in record.names],
            }


def decode(value: dict[str, Any]) -> Record:
    """Return the record that `encode` gave. Raises TypeError or ValueError when it is not one."""
    return _record(_typed(value))


def _typed(value: dict[str, Any]) -> "_Json":
    kind = _KINDS.get(next(iter(value), ""))
    if kind is None:
        raise ValueError(f"unknown record with keys {sorted(value)}")
    found: _Json = msgspec.convert(value, kind)
    return found


def _record(found: "_Json") -> Record:
    match found:
        case PackJson(pack=pack, size=size, sha256=sha256):
            return PackRecord(pack, size, sha256)
        case ContentJson() as content:
            return ContentRecord(
                content.content, content.size, content.digest, content.windowed,
                None if content.blob is None else BlobRef(*content.blob), content.packs, content.source,
                None if content.source_path is None else path_bytes(content.source_path), content.depth,
            )  # fmt: skip
        case ObjectJson(object=number, zfs=identity, base=base):
            return ObjectRecord(number, *identity, None if base is None else path_bytes(base))
        case VersionJson() as version:
            return VersionRecord(version.version, _entry(version), version.content)
        case NameJson(name=name, parent=parent, child=child):
            return NameRecord(parent, name_bytes(name), child)
        case LinksJson(links=identity, names=names):
            return LinksRecord(*identity, tuple(path_bytes(name) for name in names))


_Json = PackJson | ContentJson | ObjectJson | VersionJson | NameJson | LinksJson
_KINDS: dict[str, Any] = {
    "pack": PackJson,
    "content": ContentJson,
    "object": ObjectJson,
    "version": VersionJson,
    "name": NameJson,
    "links": LinksJson,
}
_encode_json = msgspec.json.Encoder().encode
_DECODERS: dict[bytes, Callable[[bytes], _Json | EndJson]] = {
    key.encode(): msgspec.json.Decoder(kind).decode for key, kind in {**_KINDS, "end": EndJson}.items()
}


def encode_entry(entry: Entry) -> dict[str, Any]:
    """Return an entry as JSON values."""
    return {
        "type": entry.type, "mode": entry.mode, "uid": entry.uid, "gid": entry.gid,
        "mtime_ns": entry.mtime_ns, "size": entry.size, "rdev": entry.rdev,
        "target": None if entry.target is None else _text(entry.target),
        "xattrs": [[_text(key), base64.b64encode(data).decode()] for key, data in entry.xattrs],
    }  # fmt: skip


def _entry(value: VersionJson) -> Entry:
    kind = EntryType(value.type)
    if (value.target is None) == (kind is EntryType.SYMLINK):
        raise ValueError(f"a target of {value.target!r} for something of type {value.type}")
    return Entry(
        kind, value.mode, value.uid, value.gid, value.mtime_ns, value.size, value.rdev,
        None if value.target is None else plain_bytes(value.target),
        tuple((plain_bytes(key), base64.b64decode(data, validate=True)) for key, data in value.xattrs),
    )  # fmt: skip
