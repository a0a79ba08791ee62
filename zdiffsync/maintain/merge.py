"""Manifests made anew: several into one, or one with some of its contents replaced.

What forget, prune and repair change the remote's truth with. Rule: the point made is the last one's, and
it reads the same as before.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from zdiffsync.backup.sync import read_named
from zdiffsync.catalog.upkeep import Needed
from zdiffsync.errors import IntegrityError
from zdiffsync.format.manifest import (
    ContentRecord,
    Header,
    LinksRecord,
    ManifestWriter,
    NameRecord,
    ObjectRecord,
    PackRecord,
    Record,
    Summary,
    VersionRecord,
)
from zdiffsync.model.staging import staging
from zdiffsync.store.area import Area
from zdiffsync.store.manifests import free_name, upload_manifest
from zdiffsync.store.names import ManifestName

_OF_THE_BASE = ("files_total", "bytes_total")

PackLookup = Callable[[str], PackRecord | None]


@dataclass(frozen=True, slots=True)
class Alterations:
    """How records change on the way: `needed` leaves out the others, `replaced` are contents by number.

    `pack` gives the record of a pack that contents in the result lie in.
    """

    pack: PackLookup
    needed: Needed | None = None
    replaced: Mapping[int, ContentRecord] = field(default_factory=dict)


def write_merged(
    area: Area, stage: Path, sources: Sequence[ManifestName], alterations: Alterations
) -> ManifestName:
    """Make one manifest of consecutive ones, oldest first, upload it and return its name.

    The sources stay; the new one holds instead of them. Memory follows the number of records in them.
    Raises RemoteError, IntegrityError for a source that is damaged.
    """
    last = sources[-1]
    revision = last.revision + 1 if len(sources) == 1 else 0
    target = free_name(area, ManifestName(last.chain, sources[0].first, last.last, revision))
    with TemporaryDirectory(prefix="merge-", dir=stage) as folder:
        path = Path(folder, str(target))
        with staging(folder):
            path.parent.mkdir(parents=True)
        _merge(area, Path(folder), sources, path, alterations)
        deque(read_named(path, target), maxlen=0)  # what cannot be read must not take the others' place
        upload_manifest(area, Path(folder), target)
    return target


def _merge(
    area: Area, folder: Path, sources: Sequence[ManifestName], path: Path, alterations: Alterations
) -> None:
    """Stream the sources, newest first: of each thing the first record met is the one that holds."""
    oldest = _header(area, folder, sources[0])
    newest = _header(area, folder, sources[-1])
    header = replace(
        newest,
        first=oldest.first,
        parent_guid=oldest.parent_guid,
        restic=oldest.restic,
        base_ns=oldest.base_ns,
    )
    with ManifestWriter(path, header) as writer:
        merger = _Merger(writer, alterations)
        for name in reversed(sources):
            source = folder / "source"
            area.download(str(name), source, lambda _done: None)
            for item in read_named(source, name):
                if isinstance(item, Summary):
                    merger.older_stats(item.stats)
                elif not isinstance(item, Header):
                    merger.add(item)
            source.unlink()
        merger.finish()


def _header(area: Area, folder: Path, name: ManifestName) -> Header:
    source = folder / "header"
    area.download(str(name), source, lambda _done: None)
    header = next(iter(read_named(source, name)))
    assert isinstance(header, Header), "read_manifest yields the header first"
    source.unlink()
    return header


class _Merger:
    """Writes records that come newest first."""

    def __init__(self, writer: ManifestWriter, alterations: Alterations) -> None:
        self._writer, self._alterations = writer, alterations
        self._seen: set[tuple[type[Record], object]] = set()
        self._packs: dict[str, None] = {}
        self._stats: dict[str, Any] = {}

    def add(self, record: Record) -> None:
        """Write a record unless a newer one holds instead or nothing needs it."""
        if isinstance(record, PackRecord):
            return  # of packs those are written that the contents written lie in
        key = (type(record), _key(record))
        if key in self._seen:
            return
        self._seen.add(key)
        if not self._is_needed(record):
            return
        if isinstance(record, ContentRecord):
            record = self._alterations.replaced.get(record.number, record)
            self._packs.update(dict.fromkeys(record.packs))
        self._writer.add(record)

    def older_stats(self, stats: dict[str, Any]) -> None:
        """Take in the statistics of the next older manifest.

        What only the base tells stays, and objects whose bytes changed quietly at a forgotten point are
        still not to be trusted by restic.
        """
        newer = self._stats or stats
        quiet = sorted({*newer.get("quiet", ()), *stats.get("quiet", ())})
        base = {key: stats.get(key) for key in _OF_THE_BASE if newer.get(key) is None}
        self._stats = {**newer, **base, "quiet": quiet}

    def finish(self) -> None:
        """Write the packs and the end."""
        for key in self._packs:
            if (pack := self._alterations.pack(key)) is None:
                raise IntegrityError(f"no manifest describes pack {key}, which a content lies in; run check")
            self._writer.add(pack)
        self._writer.finish(self._stats)

    def _is_needed(self, record: Record) -> bool:
        needed = self._alterations.needed
        if needed is None:
            return True
        match record:
            case ContentRecord():
                return record.number in needed.contents
            case ObjectRecord():
                return record.number in needed.objects
            case VersionRecord():
                return record.object in needed.objects and (
                    not record.content or record.content in needed.contents
                )
            case NameRecord():
                return record.parent in needed.objects
            case _:
                return True


def _key(record: Record) -> object:
    match record:
        case ContentRecord() | ObjectRecord():
            return record.number
        case VersionRecord():
            return record.object
        case NameRecord():
            return record.parent, record.name
        case LinksRecord():
            return record.zfs_object, record.generation
        case PackRecord():
            return record.pack
