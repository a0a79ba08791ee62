"""repair: what is damaged is stored again from local snapshots while they have it; the rest is given up.

check the structure -> manifests -> packs, chain by chain -> bases. Rule: only chains of this host are
touched; what takes a damaged object's place is on the remote before the object is let go.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from zdiffsync.backup.packer import Packer
from zdiffsync.backup.session import Session
from zdiffsync.backup.sync import sync_catalog
from zdiffsync.catalog.holders import ContentKey, Use
from zdiffsync.catalog.upkeep import Held
from zdiffsync.errors import ExitCode, IntegrityError, ToolError
from zdiffsync.external.restic import BasesDamagedError
from zdiffsync.format.delta_pool import DeltaPool
from zdiffsync.format.manifest import ContentRecord, PackRecord
from zdiffsync.maintain.copies import LocalCopies
from zdiffsync.maintain.findings import CheckReport, Finding, attributed
from zdiffsync.maintain.memory import CheckMemory
from zdiffsync.maintain.merge import Alterations, write_merged
from zdiffsync.maintain.read_data import PackReader
from zdiffsync.maintain.reencode import Reencoder
from zdiffsync.maintain.salvage import Salvage, Salvaged
from zdiffsync.maintain.structure import StructureCheck
from zdiffsync.model.progress import Progress
from zdiffsync.restore.local import Directories
from zdiffsync.store.names import ManifestName, pack_name


@dataclass(slots=True)
class RepairReport:
    """What was wrong, and what was done about it, or would be. Sizes in bytes.

    `snapshots` are those that contents were taken from; `lost` who suffers from what was given up now;
    `left` what repair cannot mend, and why; `bases` whether the next run has to make new ones.
    """

    found: list[Finding] = field(default_factory=list)
    contents: int = 0
    size: int = 0
    uploaded: int = 0
    snapshots: set[str] = field(default_factory=set)
    lost_contents: int = 0
    lost: Finding | None = None
    manifests: Salvaged = field(default_factory=Salvaged)
    rewritten: list[ManifestName] = field(default_factory=list)
    bases: bool = False
    left: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> ExitCode:
        """Return 90 when something is lost or could not be mended."""
        undone = self.lost_contents or self.left or self.manifests.left or self.manifests.moved
        return ExitCode.INTEGRITY if undone else ExitCode.DONE


class Repair:
    """One repair; `directories` tells where a dataset's snapshots are. With `dry_run` it changes nothing."""

    def __init__(
        self,
        session: Session,
        memory: CheckMemory,
        directories: Directories,
        *,
        transfers: int,
        dry_run: bool,
    ) -> None:
        self._session, self._memory, self._directories = session, memory, directories
        self._transfers, self._dry_run = transfers, dry_run
        self._area = session.store.data
        self.report = RepairReport()

    def run(self, *, read_data: bool) -> RepairReport:
        """Repair what is damaged or missing; `read_data`: read all packs and bases to find out.

        Raises RemoteError, CatalogError, ToolError; broken off, what is done is done: do it again.
        """
        checked = CheckReport()
        structure = self._structure()
        packs = structure.run(checked)
        self.report.found = checked.findings
        with self._session.staging() as stage:
            if structure.manifests.broken or structure.manifests.gaps:
                salvage = Salvage(self._session, dry_run=self._dry_run)
                salvage.run(structure.manifests, stage)
                self.report.manifests = salvage.done
                self._follow()
            bad = {*structure.bad_packs, *self._damaged(packs, read_data=read_data)}
            self._packs(bad, stage)
            self._bases(stage, read_data=read_data)
        if not self._dry_run:
            with self._session.catalog.holders() as holders:
                self._memory.save(holders.known(packs))
        return self.report

    def _structure(self) -> StructureCheck:
        session = self._session
        return StructureCheck(
            self._area, session.restic, session.catalog,
            repository=session.repository, transfers=self._transfers, progress=session.progress,
        )  # fmt: skip

    def _follow(self) -> None:
        if self._dry_run:
            return
        try:
            sync_catalog(self._area, self._session.catalog, self._session.progress)
        except IntegrityError as error:
            self.report.left.append(str(error))

    def _damaged(self, packs: dict[str, PackRecord], *, read_data: bool) -> set[str]:
        """Return the packs that are damaged inside, read again if an earlier check said so."""
        bad: set[str] = set()
        chosen = [pack for key, pack in packs.items() if read_data or key in self._memory.damaged]

        def damaged(pack: PackRecord, what: str) -> None:
            bad.add(pack.pack)
            self.report.found.append(Finding(pack_name(pack.pack), what, pack=pack.pack))

        reader = PackReader(self._area, self._memory, self._transfers, damaged)
        with self._session.progress("reading packs", sum(pack.size for pack in chosen)) as bar:
            reader.read(chosen, packs, bar)
        return bad

    def _packs(self, bad: set[str], stage: Path) -> None:
        """Store again, chain by chain, what bad packs held, and what earlier repairs had to give up."""
        with self._session.catalog.holders() as holders:
            damaged = {content for pack in bad for content in holders.within(pack)}
            given_up = holders.lost()
        copies = LocalCopies(self._session.catalog, self._directories)
        lost: set[ContentKey] = set()
        points = self._session.catalog.points()
        for chain in sorted({content.chain for content in damaged | given_up}):
            hosts = {point.host for point in points if point.chain_id == chain}
            if hosts != {self._session.host}:
                if any(content.chain == chain for content in damaged):
                    self.report.left.append(
                        f"packs of host {', '.join(sorted(hosts))}: only there they can be repaired"
                    )
                continue
            work = _Chain(
                self._session, self.report, chain, bad, copies, stage / str(chain), dry_run=self._dry_run
            )
            lost |= work.run(
                {content.number for content in damaged if content.chain == chain},
                {content.number for content in given_up if content.chain == chain},
            )
            self._follow()
        if lost:
            self.report.lost_contents = len(lost)
            [self.report.lost] = attributed(
                self._session.catalog,
                [Finding("lost", "no snapshot has the bytes any more", contents=frozenset(lost))],
            )

    def _bases(self, stage: Path, *, read_data: bool) -> None:
        """Make restic forget what it lacks, and the next run make new bases."""
        restic = self._session.restic
        if not restic.exists():
            if any(point.restic for point in self._session.catalog.points()):
                self.report.left.append(
                    "the restic repository with the bases is gone; begin anew at another place"
                )
            return
        damaged = set(self._memory.base_packs)
        with self._session.progress("checking bases", unit="bases"):
            try:
                restic.check("100%" if read_data else None)
                if not damaged:
                    return
            except BasesDamagedError as error:
                damaged |= error.packs
                self.report.found.append(Finding("restic", str(error)))
        self.report.bases = True
        if self._dry_run:
            return
        there = {name.rpartition("/")[2] for name in self._session.store.plain.sizes("restic/data")}
        try:
            with self._session.progress("mending bases", unit="bases"):
                restic.mend(sorted(damaged & there), stage)
        except ToolError as error:
            self.report.left.append(f"the bases: {error}")
            return
        self._memory.bases_mended()


class _Chain:
    """The work on one chain. `folder` is where new packs wait for their upload."""

    def __init__(
        self,
        session: Session,
        report: RepairReport,
        chain: int,
        bad: set[str],
        copies: LocalCopies,
        folder: Path,
        *,
        dry_run: bool,
    ) -> None:
        self._session, self._report, self._chain = session, report, chain
        self._bad, self._copies, self._folder, self._dry_run = bad, copies, folder, dry_run
        self._area = session.store.data
        self._held: dict[int, Held] = {}
        self._uses: dict[ContentKey, list[Use]] = {}
        self._made: dict[str, PackRecord] = {}
        self._replaced: dict[int, ContentRecord] = {}
        folder.mkdir()

    def run(self, damaged: set[int], given_up: set[int]) -> set[ContentKey]:
        """Store what can be had; return what is given up now."""
        with self._session.catalog.holders() as holders:
            keys = {ContentKey(self._chain, number) for number in damaged | given_up}
            numbers = {key.number for key in holders.with_dependents(keys)}
        with self._session.catalog.upkeep() as upkeep:
            self._held = {held.record.number: held for held in upkeep.contents(self._chain, numbers)}
        self._uses = self._copies.uses(ContentKey(self._chain, number) for number in numbers)
        total = sum(self._held[number].record.size for number in damaged | given_up)
        with (
            DeltaPool(self._session.settings.workers) as pool,
            self._session.progress("storing again", total) as bar,
            Packer(self._folder, self._session.settings.pack_size, self._upload) as packer,
        ):
            encoder = Reencoder(self._area, packer, pool, self._session.settings.contents.policy, self._bad)
            unreadable = {
                number
                for number in sorted(damaged | given_up)
                if not self._again(encoder, number, whole=number in given_up, bar=bar)
            }
            self._free(encoder, numbers - unreadable, unreadable, bar)
            packer.flush()
        lost = unreadable & damaged
        for number in lost:
            self._replaced[number] = replace(self._held[number].record, blob=None, packs={})
        if not self._dry_run:
            self._rewrite()
        return {ContentKey(self._chain, number) for number in lost}

    def _free(
        self, encoder: Reencoder, dependents: Iterable[int], unreadable: set[int], bar: Progress
    ) -> None:
        """Store whole what is a delta of something lost. Sources have lower numbers than their deltas."""
        unreadable = set(unreadable)
        for number in sorted(dependents):
            record = self._replaced.get(number, self._held[number].record)
            if record.source in unreadable and not self._again(encoder, number, whole=True, bar=bar):
                unreadable.add(number)

    def _again(self, encoder: Reencoder, number: int, *, whole: bool, bar: Progress) -> bool:
        """Store one content from the first copy that has its bytes; tell whether there was one."""
        record = self._held[number].record
        for copy in self._copies.of(self._uses[ContentKey(self._chain, number)]):
            made: ContentRecord | None = record
            if not self._dry_run:
                try:
                    made = encoder.again(record, copy, whole=whole, progress=bar.advance)
                except OSError as error:
                    self._report.left.append(f"{copy.point.snapshot}: {error.strerror}")
                    continue
            if made is not None:
                self._replaced[number] = made
                self._report.contents += 1
                self._report.size += record.size
                self._report.snapshots.add(copy.point.snapshot)
                return True
        return False

    def _upload(self, pack: PackRecord) -> None:
        name = pack_name(pack.pack)
        self._area.upload(self._folder, [name], lambda _sent: None)
        (self._folder / name).unlink()
        self._made[pack.pack] = pack
        self._report.uploaded += pack.size

    def _rewrite(self) -> None:
        """Write the manifests anew that hold what was replaced, the newest first."""
        points = {p.sequence: p for p in self._session.catalog.points() if p.chain_id == self._chain}
        sequences = {self._held[number].sequence for number in self._replaced}
        with self._session.catalog.upkeep() as upkeep:
            alterations = Alterations(
                lambda key: self._made.get(key) or upkeep.pack(key), replaced=self._replaced
            )
            for sequence in sorted(sequences, reverse=True):
                name = points[sequence].manifest
                self._report.rewritten.append(write_merged(self._area, self._folder, [name], alterations))
                self._area.delete([str(name)])
