"""Reading all manifests of a repository: which hold, what they name, which are damaged or missing.

First of what check and repair do. A run, forget or prune may go on meanwhile. Rule: as for whoever else
reads, a manifest whose upload broke off is none where others hold its points.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from zdiffsync.backup.sync import dispensable, read_named
from zdiffsync.catalog.catalog import Catalog
from zdiffsync.errors import ChainError, IntegrityError, ObjectMissingError
from zdiffsync.format.manifest import Header, PackRecord
from zdiffsync.model.progress import Progress, ProgressFactory
from zdiffsync.store.area import Area
from zdiffsync.store.names import ManifestName, current_manifests, parse_manifest_name, parse_pack_name

_ATTEMPTS = 3
_OURS = ("canary",)
_KNOWN = ("condemned/", "lost/", "working/")


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
                elif name not in _OURS and not name.startswith(_KNOWN):
                    found.foreign.append(name)
            except IntegrityError:
                (found.strays if name.startswith("points/") else found.foreign).append(name)
        return found


@dataclass(slots=True)
class Manifests:
    """What reading gave: the manifests that hold, the packs they name (and which name them), what is wrong.

    `gaps` tells by chain what is missing, `unfinished` are what uploads left that broke off; `vanished`: the
    remote changed meanwhile; `newest_gone`: the catalog is the last to know a point.
    """

    holding: dict[ManifestName, Header] = field(default_factory=dict)
    packs: dict[str, PackRecord] = field(default_factory=dict)
    naming: dict[str, list[ManifestName]] = field(default_factory=dict)
    broken: dict[ManifestName, str] = field(default_factory=dict)
    gaps: dict[str, str] = field(default_factory=dict)
    superseded: list[ManifestName] = field(default_factory=list)
    contradicted: set[str] = field(default_factory=set)
    unfinished: set[ManifestName] = field(default_factory=set)
    newest_gone: bool = False
    vanished: bool = False


class ManifestReader:
    """Reads the manifests below the encrypted `area`."""

    def __init__(
        self, area: Area, catalog: Catalog, repository: str, transfers: int, progress: ProgressFactory
    ) -> None:
        self._area, self._catalog, self._repository = area, catalog, repository
        self._transfers, self._progress = transfers, progress

    def read(self) -> tuple[Listing, Manifests]:
        """List and read until nothing vanishes in between, a few times. Raises RemoteError, UsageError."""
        for _ in range(_ATTEMPTS - 1):
            listing, found = self._once()
            if not found.vanished and not found.gaps:
                return listing, found
        return self._once()

    def _once(self) -> tuple[Listing, Manifests]:
        listing = Listing.of(self._area.sizes(""))
        for name in self._catalog.manifests() - listing.manifests:  # a listing may lag
            if self._area.size(str(name)) is not None:
                listing.manifests.add(name)
        found = Manifests()
        read: set[ManifestName] = set()
        while fresh := self._holding(listing, found) - read:
            self._read(fresh, found)
            read |= fresh
            self._leave_out(listing, found)
        self._miss_newest(listing, found)
        return listing, found

    def _holding(self, listing: Listing, found: Manifests) -> set[ManifestName]:
        """Return the manifests that hold; of a chain that has a gap all that nothing holds instead of."""
        by_chain: dict[str, list[ManifestName]] = {}
        for name in listing.manifests - found.unfinished:
            by_chain.setdefault(name.chain, []).append(name)
        holding: set[ManifestName] = set()
        found.gaps.clear()
        for chain, names in by_chain.items():
            try:
                holding |= set(current_manifests(names)[chain])
            except ChainError as error:
                found.gaps[chain] = str(error)
                holding |= {name for name in names if not any(other.supersedes(name) for other in names)}
        found.superseded = sorted(listing.manifests - holding - found.unfinished)
        return holding

    def _read(self, names: set[ManifestName], found: Manifests) -> None:
        with (
            TemporaryDirectory(prefix="zdiffsync-") as folder,
            self._progress("reading manifests", len(names), unit="points") as bar,
            ThreadPoolExecutor(self._transfers) as pool,
        ):
            for _ in pool.map(lambda name: self._manifest(name, Path(folder), found, bar), sorted(names)):
                pass

    def _leave_out(self, listing: Listing, found: Manifests) -> None:
        under_way = self._catalog.journal.under_way()
        for name in sorted(found.broken):
            of_chain = {each for each in listing.manifests - found.unfinished if each.chain == name.chain}
            if dispensable(name, of_chain, under_way):
                found.unfinished.add(name)
                del found.broken[name]

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
            found.broken[name] = str(error.__cause__ or error).removeprefix(f"manifest {path.name} ")
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

    def _miss_newest(self, listing: Listing, found: Manifests) -> None:
        """Note newest points that the catalog has and the remote has not: nobody forgets the newest."""
        newest = {(point.dataset_guid, point.host): point for point in self._catalog.points()}
        there: dict[tuple[int, str], int] = {}
        for header in found.holding.values():
            key = (header.dataset_guid, header.host)
            there[key] = max(there.get(key, 0), header.created_ns)
        for key, point in newest.items():
            name = point.manifest
            held = name in listing.manifests or any(each.supersedes(name) for each in found.holding)
            if not held and there.get(key, 0) < point.created_ns:
                found.gaps.setdefault(
                    name.chain, f"{name}, of the newest point of {point.dataset}, is not there"
                )
                found.newest_gone = True
