"""Where the blobs of a restic repository lie: its index files, each kept as a sorted table on disk.

Between the objects of the repository and whoever wants a blob by its id. Rule: nothing grows in memory
with the number of blobs; a table is mapped and searched where it lies.
"""

import mmap
import struct
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from zdiffsync.bases.keys import LARGEST, OVERHEAD
from zdiffsync.errors import IntegrityError
from zdiffsync.external.files import replace_private

_RECORD = struct.Struct(
    "<32sIIII"
)  # id, number of the pack, offset, length, plain length (0: not compressed)
_HEAD = struct.Struct("<8sII")  # magic, records, packs
_MAGIC = b"zdsidx1\n"
_ID = 32


@dataclass(frozen=True, slots=True)
class Place:
    """Where a blob lies: `length` bytes at `offset` of a pack; `plain` is its size if compressed, else 0."""

    pack: str
    offset: int
    length: int
    plain: int


class _Blob(msgspec.Struct):
    id: str
    offset: Annotated[int, Meta(ge=0, lt=1 << 32)]
    length: Annotated[int, Meta(ge=OVERHEAD, le=LARGEST)]
    uncompressed_length: Annotated[int, Meta(ge=0, le=LARGEST)] = 0


class _Pack(msgspec.Struct):
    id: str
    blobs: list[_Blob]


class _Index(msgspec.Struct):
    packs: list[_Pack] = []


def make_table(index: bytes) -> bytes:
    """Return the table of one decrypted index file. Raises IntegrityError."""
    try:
        packs = msgspec.json.decode(index, type=_Index).packs
        records = sorted(
            _RECORD.pack(_identifier(blob.id), number, blob.offset, blob.length, blob.uncompressed_length)
            for number, pack in enumerate(packs)
            for blob in pack.blobs
        )
        names = b"".join(_identifier(pack.id) for pack in packs)
    except (ValueError, struct.error) as error:
        raise IntegrityError(f"an index of the restic repository does not parse ({error})") from error
    return _HEAD.pack(_MAGIC, len(records), len(packs)) + b"".join(records) + names


def _identifier(text: str) -> bytes:
    identifier = bytes.fromhex(text)
    if len(text) != 2 * _ID or len(identifier) != _ID:  # fromhex passes over white space
        raise ValueError(f"not an id: {text[: 2 * _ID]!r}")
    return identifier


class _Table:
    """One table, mapped or in memory. Raises ValueError or struct.error when it is not whole."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self._map = data
        magic, self._count, packs = _HEAD.unpack_from(self._map)
        self._packs = _HEAD.size + self._count * _RECORD.size
        if magic != _MAGIC or len(self._map) != self._packs + packs * _ID:
            raise ValueError("not a whole table")

    def find(self, blob: bytes) -> Place | None:
        at = bisect_left(range(self._count), blob, key=self._id)
        if at == self._count or self._id(at) != blob:
            return None
        _, pack, offset, length, plain = _RECORD.unpack_from(self._map, _HEAD.size + at * _RECORD.size)
        start = self._packs + pack * _ID
        return Place(self._map[start : start + _ID].hex(), offset, length, plain)

    def _id(self, number: int) -> bytes:
        start = _HEAD.size + number * _RECORD.size
        return self._map[start : start + _ID]


class Index:
    """The tables in `folder`, by the ids of the index files they were made from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tables: OrderedDict[str, _Table] = OrderedDict()
        for path in sorted(folder.glob("*.table")) if folder.is_dir() else ():
            self._load(path)

    def __contains__(self, identifier: str) -> bool:
        return identifier in self._tables

    def find(self, blob: bytes) -> Place | None:
        """Return where the blob with this id (32 bytes) lies, None when no table has it."""
        for identifier, table in list(self._tables.items()):
            if (place := table.find(blob)) is not None:
                with suppress(KeyError):  # what is asked for next was often written at the same time
                    self._tables.move_to_end(identifier, last=False)
                return place
        return None

    def add(self, identifier: str, index: bytes) -> None:
        """Take in one decrypted index file. Raises IntegrityError."""
        table = make_table(index)
        path = self._folder / f"{identifier}.table"
        try:
            replace_private(path, table)
            self._tables[identifier] = _Table(_mapped(path))
        except OSError:  # the disk is full, or not ours to write: this table stays in memory
            self._tables[identifier] = _Table(table)

    def keep(self, identifiers: Iterable[str]) -> None:
        """Forget the tables of index files that are no longer there."""
        for identifier in self._tables.keys() - set(identifiers):
            del self._tables[identifier]
            with suppress(OSError):
                (self._folder / f"{identifier}.table").unlink()

    def _load(self, path: Path) -> None:
        try:
            self._tables[path.stem] = _Table(_mapped(path))
        except (OSError, ValueError, struct.error):
            with suppress(OSError):  # cut off by a full disk: it is made again
                path.unlink()


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
