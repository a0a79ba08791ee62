"""Whether everything is there and fits together: manifests, packs, contents, bases.

First step of check. Reads all manifests and lists everything else. Rule: what looks wrong is looked at once
more, for the remote may have changed in between.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from zdiffsync.backup.sync import sync_catalog
from zdiffsync.catalog.catalog import Catalog
from zdiffsync.catalog.holders import ContentKey
from zdiffsync.errors import ChainError, IntegrityError
from zdiffsync.external.restic import Restic
from zdiffsync.format.manifest import PackRecord
from zdiffsync.maintain.findings import CheckReport, Finding, attributed, file_name, pack_findings
from zdiffsync.maintain.manifests import Listing, ManifestReader, Manifests
from zdiffsync.model.progress import ProgressFactory
from zdiffsync.store.area import Area
from zdiffsync.store.names import ManifestName, pack_name

_NAMED = 5


class StructureCheck:
    """Checks a whole repository: its encrypted `area`, its bases through `restic`, the catalog of both.

    `manifests` and `bad_packs` (what is wrong, by id) are what the last `run` found.
    """

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
        self._transfers, self._progress = transfers, progress
        self._reader = ManifestReader(area, catalog, repository, transfers, progress)
        self.manifests = Manifests()
        self.bad_packs: dict[str, str] = {}

    def run(self, report: CheckReport) -> dict[str, PackRecord]:
        """Add what is wrong to `report`; return the packs that are there with the right size.

        Raises RemoteError when the remote cannot be read, UsageError for manifests of another format.
        """
        listing, manifests = self._reader.read()
        self.manifests = manifests
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
        """Bring the catalog up to the remote, unless it is the last to know a point."""
        if manifests.newest_gone:
            return
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
        self.bad_packs = bad
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
            lost = frozenset(holders.lost())
        if lost:
            report.notes.append(lost_note(self._catalog, lost))
        if unnamed:
            report.notes.append(
                f"packs that no point names: {len(unnamed):,}, of a run that is going on or broke off, or of "
                "points that were forgotten; prune removes what stays so"
            )
        if manifests.superseded:
            report.notes.append(
                f"manifests that others hold instead of: {len(manifests.superseded):,}; prune removes them"
            )
        if manifests.unfinished:
            report.notes.append(
                f"manifests whose upload broke off: {len(manifests.unfinished):,}; prune removes them"
            )
        if listing.foreign:
            some = ", ".join(sorted(listing.foreign)[:_NAMED])
            report.notes.append(f"objects below data/ that are not ours: {len(listing.foreign):,} ({some})")
        partials = self._area.partials("")
        if partials:
            report.notes.append(f"left by uploads that broke off: {len(partials):,}; prune removes them")


def lost_note(catalog: Catalog, contents: frozenset[ContentKey]) -> str:
    """Return in words what cannot be restored because these contents were given up."""
    [found] = attributed(catalog, [Finding("", "", contents=contents)])
    affected = found.affected
    assert affected is not None, "asked for by its contents"
    some = ", ".join(f"{file_name(each.dataset, each.path)}" for each in affected.named[:_NAMED])
    return (
        f"lost, as repair found no copy: {affected.files:,} files at {len(affected.points):,} points"
        f"{f' ({some})' if some else ''}"
    )


def _fault(there: int | None, size: int) -> str | None:
    if there is None:
        return "is not there"
    return None if there == size else f"has {there:,} bytes instead of {size:,}"
