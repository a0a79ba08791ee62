"""Manifests that are damaged or gone: made anew from the catalog, or the chain ends before them.

Part of repair. Rule: nothing is guessed. Where the catalog lacks a manifest that is gone, those behind it are
moved away, not deleted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from zdiffsync.backup.session import Session
from zdiffsync.backup.sync import read_named
from zdiffsync.catalog.catalog import Point
from zdiffsync.format.manifest import Header, ManifestWriter, ObjectRecord
from zdiffsync.maintain.manifests import Manifests
from zdiffsync.model.staging import staging
from zdiffsync.store.manifests import free_name, upload_manifest
from zdiffsync.store.names import ManifestName

_LOST = "lost/"


@dataclass(slots=True)
class Salvaged:
    """What was done, or would be: manifests made anew, and those moved away; why the rest was left alone."""

    written: list[ManifestName] = field(default_factory=list)
    moved: list[ManifestName] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


class Salvage:
    """Mends the chains of this host; with `dry_run` only tells how."""

    def __init__(self, session: Session, *, dry_run: bool) -> None:
        self._session, self._dry_run = session, dry_run
        self._area = session.store.data
        self.done = Salvaged()

    def run(self, manifests: Manifests, stage: Path) -> None:
        """Mend what is `broken` or has gaps. Raises RemoteError."""
        there = [*manifests.holding, *manifests.broken]
        for chain in sorted({name.chain for name in manifests.broken} | manifests.gaps.keys()):
            names = sorted(name for name in there if name.chain == chain)
            good = [name for name in names if name not in manifests.broken]
            points = [point for point in self._session.catalog.points() if point.chain == chain]
            hosts = {manifests.holding[name].host for name in good} | {point.host for point in points}
            if hosts != {self._session.host}:
                whose = f"of host {', '.join(sorted(hosts))}" if hosts else "of a host that nothing tells"
                self.done.left.append(f"chain {chain} is {whose}: only there it can be repaired")
                continue
            self._chain(names, good, sorted(points, key=lambda point: point.sequence), stage)

    def _chain(
        self,
        names: Sequence[ManifestName],
        good: Sequence[ManifestName],
        points: Sequence[Point],
        stage: Path,
    ) -> None:
        known = {
            point.manifest: point for point in points
            if not any(name.supersedes(point.manifest) for name in good)
        }  # fmt: skip
        missing = [point for name, point in known.items() if name not in good]
        elsewhere = self._objects(good, stage)
        for point in missing:
            self._write(point, elsewhere, stage)
        covered = {*good, *known}
        after = _reach(covered)
        beyond = [name for name in names if name.first > after or (name not in covered and name.last > after)]
        self.done.moved += beyond
        if not self._dry_run:
            self._area.delete([str(point.manifest) for point in missing])
            for name in sorted(beyond, reverse=True):  # what is left must always be a chain
                self._area.move(str(name), f"{_LOST}{str(name).replace('/', '-')}")

    def _objects(self, good: Iterable[ManifestName], stage: Path) -> set[int]:
        found: set[int] = set()
        path = stage / "source"
        for name in good:
            self._area.download(str(name), path, lambda _done: None)
            found.update(item.number for item in read_named(path, name) if isinstance(item, ObjectRecord))
            path.unlink()
        return found

    def _write(self, point: Point, elsewhere: set[int], stage: Path) -> None:
        name = free_name(self._area, replace(point.manifest, revision=point.revision + 1))
        self.done.written.append(name)
        if self._dry_run:
            return
        path = stage / str(name)
        with staging(stage):
            path.parent.mkdir(parents=True, exist_ok=True)
        with ManifestWriter(path, self._header(point)) as writer:
            for record in self._session.catalog.records(point, elsewhere):
                writer.add(record)
                if isinstance(record, ObjectRecord):
                    elsewhere.add(record.number)
            writer.finish(point.stats)
        upload_manifest(self._area, stage, name)
        path.unlink()

    def _header(self, point: Point) -> Header:
        before = [
            each for each in self._session.catalog.points()
            if each.chain == point.chain and each.sequence < point.first
        ]  # fmt: skip
        parent = max(before, key=lambda each: each.sequence, default=None)
        is_first = point.first == 0
        return Header(
            repository=self._session.repository, chain=point.chain, first=point.first,
            sequence=point.sequence, point=point.key, dataset=point.dataset,
            dataset_guid=point.dataset_guid, host=point.host, snapshot=point.snapshot, guid=point.guid,
            createtxg=point.createtxg, created_ns=point.created_ns,
            parent_guid=None if parent is None else parent.guid,
            restic=point.restic if is_first else None, base_ns=point.base_ns if is_first else None,
            excludes=point.excludes, tags=point.tags, keep=point.keep,
        )  # fmt: skip


def _reach(names: Iterable[ManifestName]) -> int:
    """Return the last sequence that a chain of these manifests, from its beginning, leads to; -1: none."""
    last = -1
    for name in sorted(names, key=lambda each: each.first):
        if name.first > last + 1:
            break
        last = max(last, name.last)
    return last
