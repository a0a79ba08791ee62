"""Bringing the catalog up to the remote: manifests committed but never taken in, points forgotten.

First thing a run does. A crash between commit and catalog, a deleted catalog, another host: all end
here. Rule: the remote is right; the catalog follows, a chain at a time.
"""

from collections.abc import Iterator
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
    manifest, ChainError for a missing one, UsageError for one of another format; a chain that has such a
    one keeps no other from being taken in.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return _sync(area, catalog, progress)
        except (ChainError, ObjectMissingError):
            sleep(_PAUSE)
    return _sync(area, catalog, progress)


def _sync(area: ReadableArea, catalog: Catalog, progress: ProgressFactory) -> int:
    known: dict[str, set[ManifestName]] = {}
    for name in catalog.manifests():
        known.setdefault(name.chain, set()).add(name)
    problems: list[ZdiffsyncError] = []
    current = _current(_listed(area, known), problems)
    for chain in known.keys() - current.keys():
        catalog.remove_chain(chain)
    changed = {chain: names for chain, names in current.items() if names and known.get(chain) != set(names)}
    missing = {
        chain: names if _anew(known, chain, names) else names[len(known.get(chain, ())) :]
        for chain, names in changed.items()
    }
    count = sum(map(len, missing.values()))
    if count:
        with progress("reading manifests", count, unit="points") as bar:
            for chain, names in missing.items():
                try:
                    _take_in(area, catalog, names, bar, anew=_anew(known, chain, names))
                except (IntegrityError, ChainError) as error:
                    problems.append(error)
    if problems:
        raise problems[0]
    return count


def _anew(known: dict[str, set[ManifestName]], chain: str, names: list[ManifestName]) -> bool:
    """Tell whether manifests that the catalog has taken in do not hold any more."""
    return bool(names) and names[0].first == 0 and not known.get(chain, set()) <= set(names)


def _listed(area: ReadableArea, known: dict[str, set[ManifestName]]) -> set[ManifestName]:
    """Return the manifests that are there: listed, or known and there though not listed yet."""
    listed = {parse_manifest_name(name) for name in area.sizes("points")}
    for names in known.values():
        listed |= {name for name in names - listed if area.size(str(name)) is not None}
    return listed


def _current(listed: set[ManifestName], problems: list[ZdiffsyncError]) -> _Chains:
    """Return the manifests that hold by chain, none of a chain in which one is missing."""
    found: _Chains = {}
    for name in listed:
        found.setdefault(name.chain, []).append(name)
    for chain, names in found.items():
        try:
            found[chain] = current_manifests(names)[chain]
        except ChainError as error:
            found[chain] = []
            problems.append(error)
    return found


def _take_in(
    area: ReadableArea, catalog: Catalog, names: list[ManifestName], bar: Progress, *, anew: bool
) -> None:
    with TemporaryDirectory(prefix="zdiffsync-") as folder:

        def fetched(name: ManifestName) -> Path:
            path = Path(folder, f"{name.last}.manifest")
            area.download(str(name), path, lambda _done: None)
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


def read_named(path: Path, name: ManifestName) -> Iterator[Header | Record | Summary]:
    """Read the manifest that was stored as `name`; IntegrityError also if it is another's."""
    for item in read_manifest(path):
        if isinstance(item, Header) and (item.chain, item.first, item.sequence) != (
            name.chain, name.first, name.last,
        ):  # fmt: skip
            raise IntegrityError(f"{name} on the remote is the manifest of another point; it was moved")
        yield item
