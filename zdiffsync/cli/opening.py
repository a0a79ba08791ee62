"""Opening the repository, with the catalog and what reads contents.

Behind cli.context, for the commands that need more than the catalog. Rule: looking at points opens the remote
only for what no cache holds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from zdiffsync.backup.sync import sync_catalog
from zdiffsync.bases.bases import Bases
from zdiffsync.catalog.catalog import Catalog
from zdiffsync.cli.context import App
from zdiffsync.config.config import Config
from zdiffsync.config.opening import open_configured
from zdiffsync.external.restic import Restic
from zdiffsync.restore.contents import FetchBlob
from zdiffsync.restore.local import LocalSnapshots
from zdiffsync.restore.packs import RangedPacks
from zdiffsync.store.object_cache import ObjectCache
from zdiffsync.store.remote import LazyRepository
from zdiffsync.store.repository import Repository
from zdiffsync.store.secret import Secret


@contextmanager
def opened(app: App, *, fill: bool) -> Iterator["Opened"]:
    """See App.opened."""
    config = app.config
    with open_configured(config) as repository, app.catalog() as catalog:
        if fill and not catalog.manifests():
            sync_catalog(repository.store.data, catalog, app.progress)
        yield Opened(config, repository, catalog, make_restic(config, repository))


@contextmanager
def reading(app: App, *, planned: bool) -> Iterator["Reading"]:
    """See App.reading."""
    config = app.config
    with app.catalog() as catalog, LazyRepository(lambda: open_configured(config)) as remote:
        if not catalog.manifests():
            sync_catalog(remote.data, catalog, app.progress)
        cache = ObjectCache(config.cache / "objects", config.size("cache_size"))
        bases = Bases(
            remote.plain, Secret.from_file(Path(config.password_file)), config.cache / "bases", cache,
            sparing=not planned,
        )  # fmt: skip
        fetch = RangedPacks(cache.over(remote.data, "data", sparing=not planned)).fetch
        # A mount lives for weeks, and a snapshot that is kept open cannot be destroyed by the next run.
        with LocalSnapshots(catalog, keep_open=False) as local:
            yield Reading(config, catalog, bases, fetch, remote, local)


@dataclass(frozen=True, slots=True)
class Opened:
    """One opened repository with its catalog."""

    config: Config
    repository: Repository
    catalog: Catalog
    restic: Restic


@dataclass(frozen=True, slots=True)
class Reading:
    """A catalog and what reads the contents it names; the remote is opened when first needed.

    `fetch` reads blobs of packs, `local` knows the snapshots of this machine.
    """

    config: Config
    catalog: Catalog
    bases: Bases
    fetch: FetchBlob
    store: LazyRepository
    local: LocalSnapshots


def make_restic(config: Config, repository: Repository) -> Restic:
    """Return restic for the bases of this repository."""
    store = repository.store
    return Restic(
        f"rclone:{store.plain.remote_name}restic",
        Path(config.password_file),
        config.state / "restic-cache",
        environment=store.environment,
        bwlimit=config.bwlimit,
        transfers=config.transfers,
    )
