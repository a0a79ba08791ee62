"""Making a point: contents and records into packs and a manifest, the manifest to the remote.

The second half of the nightly flow, the same for bases and increments.
Rule: the manifest goes up only after every pack it names was verified there; its upload is the commit.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from zdiffsync.backup.changes import ChangeSet
from zdiffsync.backup.contents import ContentStats, ContentStore
from zdiffsync.backup.packer import Packer
from zdiffsync.backup.point import PointBuilder, PointStats
from zdiffsync.backup.session import Session
from zdiffsync.backup.uploader import Uploader
from zdiffsync.catalog.view import PointView
from zdiffsync.errors import RemoteError
from zdiffsync.external.tree import Identity, SnapshotTree
from zdiffsync.format.delta_pool import DeltaPool
from zdiffsync.format.manifest import ContentRecord, Header, ManifestWriter, PackRecord, read_manifest
from zdiffsync.model.entry import EntryType
from zdiffsync.model.staging import staging
from zdiffsync.store.condemned import read_condemned
from zdiffsync.store.manifests import free_name, upload_manifest
from zdiffsync.store.names import ManifestName, pack_name


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a committed point took; bytes and seconds. `manifest` is known only once it is written.

    `rate`: bytes a second that were uploaded, None if they were too few to tell.
    """

    point: PointStats
    contents: ContentStats
    uploaded: int
    seconds: float
    rate: int | None = None
    manifest: int = 0


class PointCommit:
    """Builds and commits the point that `header` describes.

    `old` and `view` are the tree and the catalog's view of the point before, None for a base; `lost` are
    the contents of the chain that cannot be read any more.
    """

    def __init__(
        self,
        session: Session,
        header: Header,
        *,
        old: SnapshotTree | None,
        new: SnapshotTree,
        view: PointView | None,
        base_path: Callable[[Identity, bytes | None], bytes | None],
        last_numbers: tuple[int, int],
        lost: frozenset[int] = frozenset(),
    ) -> None:
        self._session, self._header = session, header
        self._old, self._new, self._view = old, new, view
        self._base_path = base_path
        self._last_object, self._last_content = last_numbers
        self._lost = lost
        self._packs: list[PackRecord] = []
        self._uploaded = 0
        self._rate: int | None = None

    def commit(self, changes: ChangeSet, extra_stats: Callable[[Outcome], dict[str, Any]]) -> Outcome:
        """Store all changes and commit. Raises RemoteError, CatalogError, StagingError.

        Nothing is committed then, but for an error of the catalog, which takes the point in later.
        """
        started = monotonic()
        with self._session.staging() as stage:
            sequence, area = self._header.sequence, self._session.store.data
            name = free_name(area, ManifestName(self._header.chain, sequence, sequence))
            manifest = stage / str(name)
            with staging(stage):
                manifest.parent.mkdir(parents=True)
            with ManifestWriter(manifest, self._header) as writer:
                point, contents = self._fill(stage, writer, changes)
                for pack in self._packs:
                    writer.add(pack)
                outcome = Outcome(point, contents, self._uploaded, monotonic() - started, self._rate)
                writer.finish(extra_stats(outcome))
            deque(read_manifest(manifest), maxlen=0)  # what cannot be read must not become a point
            self._refuse_condemned()
            upload_manifest(area, stage, name)
            outcome = replace(outcome, manifest=manifest.stat().st_size)
            self._session.catalog.apply(read_manifest(manifest), name.revision)
        self._session.catalog.journal.clear(self._header.dataset)
        return outcome

    def _fill(
        self, stage: Path, writer: ManifestWriter, changes: ChangeSet
    ) -> tuple[PointStats, ContentStats]:
        settings, journal = self._session.settings, self._session.catalog.journal
        total = self._expected(changes)
        done_packs, done_contents = self._resumable()
        self._packs += done_packs
        with (
            self._session.progress("reading", total) as reading,
            self._session.progress("uploading") as uploading,
            DeltaPool(settings.workers) as pool,
        ):

            def verified(pack: PackRecord) -> None:
                journal.packed(self._header.dataset, pack, contents.completed_by(pack))

            with Uploader(
                self._session.store.data, stage,
                space=settings.staging_space, progress=uploading, on_verified=verified,
            ) as uploader:  # fmt: skip

                def hand_on(pack: PackRecord) -> None:
                    self._packs.append(pack)
                    self._uploaded += pack.size
                    uploading.expect(self._uploaded)
                    uploader.submit(pack)

                with Packer(stage, settings.pack_size, hand_on) as packer:
                    contents = ContentStore(
                        old=self._old, new=self._new, view=self._view, packer=packer, pool=pool,
                        settings=settings.contents, last_number=self._last_content, emit=writer.add,
                        progress=reading.advance,
                    )  # fmt: skip
                    contents.resume(done_packs, done_contents)
                    builder = PointBuilder(
                        writer, contents, old=self._old, new=self._new, view=self._view,
                        base_path=self._base_path, last_number=self._last_object, lost=self._lost,
                    )  # fmt: skip
                    builder.add(changes)
                    packer.flush()
            self._rate = uploader.rate
        return builder.stats, contents.stats

    def _resumable(self) -> tuple[list[PackRecord], dict[tuple[int, int], ContentRecord]]:
        """Return what a broken-off run stored, without what a prune has deleted since or is going to."""
        packs, contents = self._session.catalog.journal.done(self._header.dataset)
        if not packs:
            return [], {}
        there = self._session.store.data.sizes("packs")
        condemned = {pack for each in read_condemned(self._session.store.data) for pack in each.packs}
        good = [
            pack
            for pack in packs
            if pack.pack not in condemned and there.get(pack_name(pack.pack)) == pack.size
        ]
        names = {pack.pack for pack in good}
        return good, {key: record for key, record in contents.items() if record.packs.keys() <= names}

    def _refuse_condemned(self) -> None:
        """Stop when a prune on another host has taken what this run uploaded for waste."""
        packs = {pack.pack for pack in self._packs}
        for each in read_condemned(self._session.store.data):
            if packs & each.packs or self._header.restic in each.bases:
                raise RemoteError(
                    "a prune on another host is going to delete what this run has uploaded; run again"
                )

    def _expected(self, changes: ChangeSet) -> int:
        """Return the bytes of the files that may have to be read."""
        total = 0
        for change in changes.objects:
            info = self._new.lstat(change.names[0])
            if info is not None and EntryType.of_mode(info.st_mode) is EntryType.FILE:
                total += info.st_size
        return total
