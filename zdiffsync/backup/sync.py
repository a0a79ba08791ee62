"""Bringing the catalog up to the remote: manifests committed but never taken in, points forgotten.

First thing a run does. A crash between commit and catalog, a deleted catalog, another host: all end
here. Rule: the remote is right; the catalog follows, a chain at a time. A manifest whose upload broke off
does not hold, so what it was to take the place of still does.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep

from zdiffsync.catalog.catalog import Catalog
from zdiffsync.errors import ChainError, IntegrityError, ObjectMissingError, ZdiffsyncError
from zdiffsync.format.manifest import Header, Record, Summary, read_manifest
from zdiffsync.model.progress import Progress, ProgressFactory
from zdiffsync.store.names import ManifestName, current_manifests, parse_manifest_name
from zdiffsync.store.remote import ReadableArea

_ATTEMPTS = 3
_PAUSE = 2.0  # seconds; another host may be merging manifests just now

_Chains = dict[str, list[ManifestName]]


def sync_catalog(area: ReadableArea, catalog: Catalog, progress: ProgressFactory) -> int:
    """Take in every manifest of the encrypted area that the catalog lacks; return how many.

    Points whose manifests are gone leave the catalog. Raises RemoteError, IntegrityError for a damaged
    manifest that is needed, ChainError for a missing one, UsageError for one of another format; a chain that
    has such a one keeps no other from being taken in.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return _sync(area, catalog, progress)
        except (ChainError, ObjectMissingError):
            sleep(_PAUSE)
    return _sync(area, catalog, progress)


def _sync(area: ReadableArea, catalog: Catalog, progress: ProgressFactory) -> int:
    known = _by_chain(catalog.manifests())
    listed = _by_chain(_listed(area, known))
    for chain in known.keys() - listed.keys():
        catalog.remove_chain(chain)
    problems: list[ZdiffsyncError] = []
    missing: _Chains = {}
    for chain, names in listed.items():
        try:
            missing[chain] = _missing(known.get(chain, set()), current_manifests(names)[chain])
        except ChainError as error:
            problems.append(error)
    count = sum(map(len, missing.values()))
    if count:
        with progress("reading manifests", count, unit="points") as bar:
            for chain in (chain for chain, names in missing.items() if names):
                try:
                    _follow(area, catalog, listed[chain], known.get(chain, set()), bar)
                except (IntegrityError, ChainError) as error:
                    problems.append(error)
    if problems:
        raise problems[0]
    return count


def _by_chain(names: Iterable[ManifestName]) -> dict[str, set[ManifestName]]:
    chains: dict[str, set[ManifestName]] = {}
    for name in names:
        chains.setdefault(name.chain, set()).add(name)
    return chains


def _listed(area: ReadableArea, known: dict[str, set[ManifestName]]) -> set[ManifestName]:
    """Return the manifests that are there: listed, or known and there though not listed yet."""
    listed = {parse_manifest_name(name) for name in area.sizes("points")}
    for names in known.values():
        listed |= {name for name in names - listed if area.size(str(name)) is not None}
    return listed


def _missing(known: set[ManifestName], names: list[ManifestName]) -> list[ManifestName]:
    """Return what is to be taken in of the manifests that hold: all of them when the chain was made anew."""
    return names if _anew(known, names) else names[len(known) :]


def _anew(known: set[ManifestName], names: list[ManifestName]) -> bool:
    """Tell whether manifests that the catalog has taken in do not hold any more."""
    return bool(names) and not known <= set(names)


def _follow(
    area: ReadableArea, catalog: Catalog, listed: set[ManifestName], known: set[ManifestName], bar: Progress
) -> None:
    """Take in what the catalog lacks of one chain, of which `listed` are there."""
    while True:
        names = [name for of_chain in current_manifests(listed).values() for name in of_chain]
        try:
            _take_in(area, catalog, _missing(known, names), bar, anew=_anew(known, names))
        except DamagedManifestError as error:
            if not dispensable(error.name, listed, catalog.journal.under_way()):
                raise
            listed = listed - {error.name}
            known = _by_chain(catalog.manifests()).get(error.name.chain, set())
        else:
            return


def dispensable(damaged: ManifestName, listed: set[ManifestName], under_way: set[tuple[str, int]]) -> bool:
    """Tell whether nothing is lost without a manifest.

    So it is where others hold all its points, or where the run that was uploading it can make it anew.
    """
    try:
        left = current_manifests(listed - {damaged}).get(damaged.chain, [])
    except ChainError:
        return False
    end = left[-1].last if left else -1
    return end >= damaged.last or (
        damaged.first == damaged.last == end + 1 and (damaged.chain, damaged.last) in under_way
    )


def _take_in(
    area: ReadableArea, catalog: Catalog, names: list[ManifestName], bar: Progress, *, anew: bool
) -> None:
    with TemporaryDirectory(prefix="zdiffsync-") as folder:

        def fetched(name: ManifestName) -> Path:
            path = Path(folder, f"{name.last}.manifest")
            try:
                area.download(str(name), path, lambda _done: None)
            except IntegrityError as error:
                raise DamagedManifestError(name, error) from error
            bar.advance(1)
            return path

        if not anew:
            for name in names:
                path = fetched(name)
                catalog.apply(read_named(path, name), name.revision)
                path.unlink()
            return
        paths = [(name, fetched(name)) for name in names]  # before the catalog is locked for the change
        catalog.replace_chain(
            names[0].chain, ((name.revision, read_named(path, name)) for name, path in paths)
        )


class DamagedManifestError(IntegrityError):
    """A manifest cannot be read, or is not the one its name says."""

    def __init__(self, name: ManifestName, why: IntegrityError) -> None:
        super().__init__(f"{why}; run zdiffsync check")
        self.name = name


def read_named(path: Path, name: ManifestName) -> Iterator[Header | Record | Summary]:
    """Read the manifest that was stored as `name`. Raises DamagedManifestError."""
    try:
        for item in read_manifest(path, str(name)):
            if isinstance(item, Header):
                _check_place(item, name)
            yield item
    except IntegrityError as error:
        raise DamagedManifestError(name, error) from error


def _check_place(header: Header, name: ManifestName) -> None:
    if (header.chain, header.first, header.sequence) != (name.chain, name.first, name.last):
        raise IntegrityError(f"{name} on the remote is the manifest of another point; it was moved")
