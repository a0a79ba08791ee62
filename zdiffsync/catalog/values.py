"""Rows to values and back: entries, xattrs, contents.

Rule: xattrs are one packed column, so a million plain files cost no second table.
"""

import struct
from typing import Any

from zdiffsync.catalog.schema import ContentRow, VersionRow
from zdiffsync.format.manifest import ContentRecord
from zdiffsync.format.manifest_values import MAX_NUMBER
from zdiffsync.format.windows import BlobRef
from zdiffsync.model.entry import Entry, EntryType

_LENGTHS = struct.Struct("<II")


def entry_columns(entry: Entry) -> dict[str, Any]:
    """Return the columns of VersionRow that hold an entry."""
    return {
        "type": entry.type.value, "mode": entry.mode, "uid": entry.uid, "gid": entry.gid,
        "mtime_ns": _time(entry.mtime_ns), "size": entry.size, "rdev": entry.rdev, "target": entry.target,
        "xattrs": _pack_xattrs(entry.xattrs),
    }  # fmt: skip


def _time(ns: int) -> int:
    """Return what the column holds: SQLite's integers end in the year 2262, a file system's times do not."""
    return max(-MAX_NUMBER - 1, min(ns, MAX_NUMBER))


def row_entry(row: VersionRow) -> Entry:
    """Return the entry that `entry_columns` took apart."""
    return Entry(
        EntryType(row.type), row.mode, row.uid, row.gid, row.mtime_ns, row.size, row.rdev, row.target,
        _unpack_xattrs(row.xattrs),
    )  # fmt: skip


def row_content(row: ContentRow) -> ContentRecord:
    """Return the content a row holds; of a windowed one `packs` names only that of its table."""
    blob = None if row.pack is None else BlobRef(row.pack, row.offset, row.length)
    packs = {} if blob is None else {blob.pack: blob.length}
    return ContentRecord(
        row.number, row.size, row.digest, bool(row.windowed), blob, packs,
        row.source, row.source_path, row.depth,
    )  # fmt: skip


def _pack_xattrs(xattrs: tuple[tuple[bytes, bytes], ...]) -> bytes | None:
    if not xattrs:
        return None
    return b"".join(_LENGTHS.pack(len(key), len(data)) + key + data for key, data in xattrs)


def _unpack_xattrs(packed: bytes | None) -> tuple[tuple[bytes, bytes], ...]:
    found = []
    at = 0
    while packed and at < len(packed):
        key, data = _LENGTHS.unpack_from(packed, at)
        at += _LENGTHS.size
        found.append((packed[at : at + key], packed[at + key : at + key + data]))
        at += key + data
    return tuple(found)
