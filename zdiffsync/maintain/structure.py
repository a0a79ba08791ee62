"""Whether everything is there and fits together: manifests, packs, contents, bases.

First step of check. Reads all manifests and lists everything else; a run, forget or prune may go on
meanwhile. Rule: what looks wrong is looked at once more, for the remote may have changed in between.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from zdiffsync.backup.sync import read_named, sync_catalog
from zdiffsync.catalog.catalog import Catalog
from zdiffsync.errors import ChainError, IntegrityError, ObjectMissingError
from zdiffsync.external.restic import Restic
from zdiffsync.format.manifest import Header, PackRecord
from zdiffsync.maintain.findings import CheckReport, Finding, attributed, pack_findings
from zdiffsync.model.progress import Progress, ProgressFactory
from zdiffsync.store.area import Area
from zdiffsync.store.names import (
    ManifestName,
    current_manifests,
    pack_name,
    parse_manifest_name,
    parse_pack_name,
)

_ATTEMPTS = 3
_NAMED = 5
_OURS = ("canary",)
_CONDEMNED = "condemned/"


@dataclass(slots=True)
class Listing:
    """The objects below `data/`, told apart by their names; sizes in bytes."""

    packs: dict[str, int] = field(default_factory=dict)
    manifests: set[ManifestName] = field(default_factory=set)
    foreign: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> "Listing":
        """Sort the names of a listing; `strays` lie among the manifests and are none."""
        found = cls()
        for name, size in sizes.items():
            try:
                if name.startswith("packs/"):
                    found.packs[parse_pack_name(name)] = size
                elif name.startswith("points/"):
                    found.manifests.add(parse_manifest_name(name))
                elif name not in _OURS and not name.startswith(_CONDEMNED):
                    found.foreign.append(name)
            except IntegrityError:
                (found.strays if name.startswith("points/") else found.foreign).append(name)
        return found


@dataclass(slots=True)
class Manifests:
    """What reading the manifests gave: those that hold, the packs they name, and what is wrong."""

    holding: dict[ManifestName, Header] = field(default_factory=dict)
    packs: dict[str, PackRecord] = field(default_factory=dict)
    naming: dict[str, list[ManifestName]] = field(default_factory=dict)
    broken: dict[ManifestName, str] = field(default_factory=dict)
    gaps: dict[str, str] = field(default_factory=dict)
    superseded: list[ManifestName] = field(default_factory=list)
    contradicted: set[str] = field(default_factory=set)
    vanished: bool = False


class StructureCheck:
    """Checks a whole repository: its encrypted `area`, its bases through `restic`, the catalog of both."""

    def __init__(
        self,
        area: Area,
        restic: Restic,
        catalog: Catalog,
        *,
        repository: str,
        transfers: int,
        progress: ProgressFactory,
    ) -> None:
        self._area, self._restic, self._catalog = area, restic, catalog
        self._repository, self._transfers, self._progress = repository, transfers, progress

    def run(self, report: CheckReport) -> dict[str, PackRecord]:
        """Add what is wrong to `report`; return the packs that are there with the right size.

        Raises RemoteError when the remote cannot be read, UsageError for manifests of another format.
        """
        listing, manifests = self._read()
        report.points = len(manifests.holding)
        report.findings += self._of_manifests(listing, manifests)
        self._follow(report, manifests)
        good = self._of_packs(listing, manifests, report)
        report.packs, report.pack_bytes = len(good), sum(pack.size for pack in good.values())
        with self._progress("checking relations", unit="relations"):
            report.findings += attributed(
                self._catalog,
                [
                    Finding(
                        f"points/{each.chain}",
                        f"{each.count:,} {each.what}",
                        points=self._points_of(each.chain),
                        contents=each.contents,
                    )
                    for each in self._catalog.breaches()
                ],
            )
        self._of_bases(manifests, report)
        self._notes(listing, manifests, report)
        return good

    def _read(self) -> tuple[Listing, Manifests]:
        """List and read until nothing vanishes in between, a few times."""
        for _ in range(_ATTEMPTS - 1):
            listing, manifests = self._read_once()
            if not manifests.vanished and not manifests.gaps:
                return listing, manifests
        return self._read_once()

    def _read_once(self) -> tuple[Listing, Manifests]:
        listing = Listing.of(self._area.sizes(""))
        for name in self._catalog.manifests() - listing.manifests:  # a listing may lag
            if self._area.size(str(name)) is not None:
                listing.manifests.add(name)
        found = Manifests()
        by_chain: dict[str, list[ManifestName]] = {}
        for name in listing.manifests:
            by_chain.setdefault(name.chain, []).append(name)
        holding: set[ManifestName] = set()
        for chain, names in by_chain.items():
            try:
                holding |= set(current_manifests(names)[chain])
            except ChainError as error:
                found.gaps[chain] = str(error)
                holding |= {name for name in names if not any(other.supersedes(name) for other in names)}
        found.superseded = sorted(listing.manifests - holding)
        with (
            TemporaryDirectory(prefix="zdiffsync-") as folder,
            self._progress("reading manifests", len(holding), unit="points") as bar,
            ThreadPoolExecutor(self._transfers) as pool,
        ):
            for _ in pool.map(lambda name: self._manifest(name, Path(folder), found, bar), sorted(holding)):
                pass
        return listing, found

    def _manifest(self, name: ManifestName, folder: Path, found: Manifests, bar: Progress) -> None:
        path = folder / f"{name.chain}-{name.first}-{name.last}-{name.revision}"
        header: Header | None = None
        packs: list[PackRecord] = []
        try:
            try:
                self._area.download(str(name), path, lambda _done: None)
            except IntegrityError:
                found.broken[name] = "is damaged: it cannot be decrypted"
                return
            for item in read_named(path, name):
                if isinstance(item, Header):
                    header = item
                elif isinstance(item, PackRecord):
                    packs.append(item)
        except ObjectMissingError:
            found.vanished = True
            found.broken[name] = "is not there"
            return
        except IntegrityError as error:
            found.broken[name] = str(error).removeprefix(f"manifest {path.name} ")
            return
        finally:
            path.unlink(missing_ok=True)
            bar.advance(1)
        assert header is not None, "read_manifest yields the header first"
        if header.repository != self._repository:
            found.broken[name] = "is of another repository"
            return
        found.holding[name] = header
        for pack in packs:
            found.naming.setdefault(pack.pack, []).append(name)
            if found.packs.setdefault(pack.pack, pack) != pack:
                found.contradicted.add(pack.pack)

    def _of_manifests(self, listing: Listing, manifests: Manifests) -> list[Finding]:
        known = {point.manifest: point.key for point in self._catalog.points()}
        found = [
            Finding(str(name), what, points=(known[name],) if name in known else ())
            for name, what in sorted(manifests.broken.items())
        ]
        found += [
            Finding(f"points/{chain}", what, points=self._points_of(chain))
            for chain, what in manifests.gaps.items()
        ]
        found += [Finding(name, "lies among the manifests and is none") for name in listing.strays]
        return found

    def _follow(self, report: CheckReport, manifests: Manifests) -> None:
        """Bring the catalog up to the remote."""
        before = self._catalog.manifests()
        try:
            sync_catalog(self._area, self._catalog, self._progress)
        except (IntegrityError, ChainError) as error:
            if not report.findings:
                report.findings.append(Finding("points", str(error)))
        if before and before != self._catalog.manifests():
            report.notes.append("the catalog was behind the remote and follows it now")
        missing = manifests.holding.keys() - self._catalog.manifests()
        if missing and report.findings:
            report.notes.append(
                f"points that cannot be read for the same reason: {len(missing):,}; whether their files are "
                "damaged, too, is not known"
            )

    def _of_packs(self, listing: Listing, manifests: Manifests, report: CheckReport) -> dict[str, PackRecord]:
        """Hold the packs that manifests name against those that are there; return the good ones."""
        bad = {
            key: what
            for key, pack in manifests.packs.items()
            if (what := _fault(listing.packs.get(key), pack.size)) is not None
        }
        with ThreadPoolExecutor(self._transfers) as pool:  # a listing may lag, and a run be going on
            for key, size in pool.map(lambda key: (key, self._area.size(pack_name(key))), list(bad)):
                what = _fault(size, manifests.packs[key].size)
                if what is None:
                    del bad[key]
                else:
                    bad[key] = what
        for key in manifests.contradicted:
            bad.setdefault(key, "manifests do not agree on its size and digest")
        bad = {key: what for key, what in bad.items() if self._is_named(manifests.naming[key])}
        report.findings += pack_findings(
            self._catalog, ((key, pack_name(key), what) for key, what in sorted(bad.items()))
        )
        return {key: pack for key, pack in manifests.packs.items() if key not in bad}

    def _is_named(self, naming: Iterable[ManifestName]) -> bool:
        """Tell whether one of the manifests that named a pack is still there: a prune may be going on."""
        return any(self._area.size(str(name)) is not None for name in naming)

    def _of_bases(self, manifests: Manifests, report: CheckReport) -> None:
        bases = {header.restic: name.chain for name, header in manifests.holding.items() if header.restic}
        if not bases:
            return
        there: set[str] = set()
        with self._progress("looking for bases", unit="bases"):
            try:
                if self._restic.exists():
                    there = {each.id for each in self._restic.snapshots()}
            except IntegrityError as error:
                report.findings.append(Finding("restic", str(error)))
                return
        report.bases = len(bases.keys() & there)
        for base in bases.keys() - there:
            what = "the restic repository lacks this snapshot, the base of points"
            name = f"restic snapshot {base[:8]}"
            report.findings.append(Finding(name, what, points=self._points_of(bases[base])))

    def _points_of(self, chain: str) -> tuple[str, ...]:
        return tuple(point.key for point in self._catalog.points() if point.chain == chain)

    def _notes(self, listing: Listing, manifests: Manifests, report: CheckReport) -> None:
        unnamed = listing.packs.keys() - manifests.packs.keys()
        with self._catalog.holders() as holders:
            unnamed -= holders.known(unnamed)  # those of a manifest that is damaged
        if unnamed:
            report.notes.append(
                f"packs that no point names: {len(unnamed):,}, of a run that is going on or broke off, or of "
                "points that were forgotten; prune removes what stays so"
            )
        if manifests.superseded:
            report.notes.append(
                f"manifests that others hold instead of: {len(manifests.superseded):,}; prune removes them"
            )
        if listing.foreign:
            some = ", ".join(sorted(listing.foreign)[:_NAMED])
            report.notes.append(f"objects below data/ that are not ours: {len(listing.foreign):,} ({some})")
        partials = self._area.partials("")
        if partials:
            report.notes.append(f"left by uploads that broke off: {len(partials):,}; prune removes them")


def _fault(there: int | None, size: int) -> str | None:
    if there is None:
        return "is not there"
    return None if there == size else f"has {there:,} bytes instead of {size:,}"
