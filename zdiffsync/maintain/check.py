"""check: that everything is there, that its bytes are right, that it gives back what was backed up.

structure -> read data, on request -> bases -> comparison with the source, restore drill, on request.
Rule: changes nothing on the remote and holds no lock; what is wrong is told as it is found, and a remote
that fails is an error of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import monotonic

from zdiffsync.backup.excludes import Excludes
from zdiffsync.bases.bases import Bases
from zdiffsync.catalog.catalog import Catalog, Point
from zdiffsync.errors import ToolError
from zdiffsync.external.restic import BasesDamagedError, Restic
from zdiffsync.format.manifest import PackRecord
from zdiffsync.maintain.drill import drill
from zdiffsync.maintain.findings import CheckReport, Finding, pack_findings
from zdiffsync.maintain.memory import CheckMemory
from zdiffsync.maintain.read_data import PackReader
from zdiffsync.maintain.sample import draw
from zdiffsync.maintain.source import SourceCheck, cost
from zdiffsync.maintain.structure import StructureCheck
from zdiffsync.maintain.subset import Subset
from zdiffsync.model.progress import ProgressFactory
from zdiffsync.restore.contents import FetchBlob
from zdiffsync.restore.local import Directories
from zdiffsync.restore.restore import Restorer
from zdiffsync.store.names import pack_name
from zdiffsync.store.repository import Repository


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to be checked beside the structure. `points` None: all; they bound what is read or sampled."""

    points: Sequence[Point] | None = None
    read: Subset | None = None
    against_source: bool = False
    drill: bool = False
    files: int = 100
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Tools:
    """What check works with.

    `bases` and `fetch` read from the remote through a cache of their own, so that nothing is taken for right
    because it was read before; `directories` tells where a dataset's snapshots are; `excludes` those of a
    dataset in the configuration.
    """

    repository: Repository
    catalog: Catalog
    restic: Restic
    bases: Bases
    fetch: FetchBlob
    directories: Directories
    excludes: Callable[[str], Excludes]
    state: Path
    scratch: Path
    transfers: int
    progress: ProgressFactory


class Check:
    """One check. `tell` gets each finding as soon as it is complete."""

    def __init__(self, tools: Tools, wishes: Wishes, tell: Callable[[Finding], None]) -> None:
        self._tools, self._wishes, self._tell = tools, wishes, tell
        self._random = Random()
        self._told = 0
        self.report = CheckReport()

    def run(self) -> CheckReport:
        """Check. Raises RemoteError, CatalogError, ToolError; `report` holds what was found until then."""
        started = monotonic()
        try:
            self._run()
        finally:
            self._tell_new()
            self.report.seconds = monotonic() - started
        return self.report

    def _run(self) -> None:
        tools, wishes = self._tools, self._wishes
        structure = StructureCheck(
            tools.repository.store.data, tools.restic, tools.catalog,
            repository=tools.repository.identifier, transfers=tools.transfers, progress=tools.progress,
        )  # fmt: skip
        packs = structure.run(self.report)
        self._tell_new()
        memory = CheckMemory(tools.state, tools.repository.identifier)
        self._read(packs, memory)
        if wishes.against_source:
            self._compare()
        if wishes.drill:
            self._drill()

    def _tell_new(self) -> None:
        for finding in self.report.findings[self._told :]:
            self._tell(finding)
        self._told = len(self.report.findings)

    def _read(self, packs: dict[str, PackRecord], memory: CheckMemory) -> None:
        """Read packs and bases, or only hold the bases' structure against themselves."""
        subset = self._wishes.read
        if subset is None:
            self._bases(None, memory)
            return
        base_bytes = sum(self._tools.repository.store.plain.sizes("restic/data").values())
        total = base_bytes + self.report.pack_bytes
        chosen = subset.packs(self._of_points(packs), memory, total)

        def damaged(pack: PackRecord, what: str) -> None:
            self.report.findings += pack_findings(
                self._tools.catalog, [(pack.pack, pack_name(pack.pack), what)]
            )
            self._tell_new()

        reader = PackReader(self._tools.repository.store.data, memory, self._tools.transfers, damaged)
        try:
            with self._tools.progress("reading packs", sum(pack.size for pack in chosen)) as bar:
                reader.read(chosen, packs, bar)
        finally:
            self.report.packs_read, self.report.bytes_read = reader.packs, reader.size
        part, upto = subset.of_bases(memory.bases_upto, total)
        self._bases(part, memory)
        if upto is not None:
            memory.save(packs, upto)

    def _of_points(self, packs: dict[str, PackRecord]) -> dict[str, PackRecord]:
        if self._wishes.points is None:
            return packs
        chains = {point.chain_id for point in self._wishes.points}
        with self._tools.catalog.holders() as holders:
            of_chains = holders.packs_of(chains)
        return {key: pack for key, pack in packs.items() if key in of_chains}

    def _bases(self, part: str | None, memory: CheckMemory) -> None:
        """Let restic check its repository, once more if a run made a base in between."""
        if not self.report.bases:
            return
        label = "checking bases" if part is None else "reading bases"
        with self._tools.progress(label, unit="bases"):
            damage = self._damage_of_bases(part)
        if damage is not None:
            memory.bases_damaged(damage.packs)
            self.report.findings.append(Finding("restic", str(damage)))
            self._tell_new()
        self.report.bases_read = part

    def _damage_of_bases(self, part: str | None) -> BasesDamagedError | None:
        restic = self._tools.restic
        damage: BasesDamagedError | None = None
        for _ in range(2):
            before = restic.snapshots()
            try:
                restic.check(part)
            except BasesDamagedError as error:
                damage = error
            else:
                return None
            if before == restic.snapshots():
                break
        return damage

    def _compare(self) -> None:
        tools, per_point = self._tools, self._here()
        if not per_point:
            self.report.notes.append("no snapshot of a point is on this machine, so nothing was compared")
        for point, root in per_point:
            count = max(1, self._wishes.files // len(per_point))
            excludes = tools.excludes(point.dataset)
            compare = SourceCheck(
                tools.catalog, tools.bases, tools.fetch, root,
                excludes if excludes.digest == point.excludes else None,
            )  # fmt: skip
            with tools.progress("drawing a sample", unit="files"):
                sample = draw(tools.catalog, tools.bases, point, count, cost, self._random)
            with tools.progress("comparing", len(sample.files), unit="files") as bar:
                try:
                    compare.compare(sample, self.report, self._random, bar)
                except ToolError as error:
                    self.report.notes.append(f"{point.snapshot} went away meanwhile: {error}")
            self._tell_new()

    def _here(self) -> list[tuple[Point, bytes]]:
        """Return the points whose own snapshot is on this machine, newest first, with its directory."""
        points = self._points()
        directories = {dataset: self._tools.directories(dataset) for dataset in {p.dataset for p in points}}
        return [
            (point, directories[point.dataset][point.guid])
            for point in reversed(points)
            if point.guid in directories[point.dataset]
        ]

    def _points(self) -> list[Point]:
        return list(self._tools.catalog.points() if self._wishes.points is None else self._wishes.points)

    def _drill(self) -> None:
        tools, points = self._tools, self._points()
        if not points:
            self.report.notes.append("there are no points yet, so nothing was restored")
            return
        point = self._random.choice(points)
        restorer = Restorer(
            tools.catalog, tools.bases, tools.repository.store.data, tools.fetch, lambda: tools.restic, None,
            lambda: tools.repository.store.plain.received + tools.repository.store.data.received,
            tools.progress, tools.transfers,
        )  # fmt: skip
        with tools.progress("drawing a sample", unit="files"):
            sample = draw(
                tools.catalog, tools.bases, point, self._wishes.files, lambda size: size, self._random
            )
        root = tools.directories(point.dataset).get(point.guid)
        drill(restorer, sample, self._wishes.folder or tools.scratch, root, self.report)
        self._tell_new()
