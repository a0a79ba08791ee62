"""What every command starts from: global options, the configuration, the opened repository.

Rule: nothing is opened before a command asks for it, so --help and usage errors are instant, and
looking at points opens the remote only for what no cache holds.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from zdiffsync.backup.sync import sync_catalog
from zdiffsync.bases.bases import Bases
from zdiffsync.catalog.catalog import Catalog
from zdiffsync.cli.progress import bars
from zdiffsync.config.config import Config, default_path, load
from zdiffsync.external.restic import Restic
from zdiffsync.model.progress import ProgressFactory
from zdiffsync.restore.contents import FetchBlob
from zdiffsync.restore.local import LocalSnapshots
from zdiffsync.restore.packs import RangedPacks
from zdiffsync.store.object_cache import ObjectCache
from zdiffsync.store.remote import LazyRepository
from zdiffsync.store.repository import Repository, open_repository
from zdiffsync.store.secret import Secret


@dataclass(slots=True)
class App:
    """The global options."""

    config_path: Path
    json: bool = False
    verbosity: int = 0
    no_progress: bool = False

    @property
    def config(self) -> Config:
        """Read the configuration file."""
        return load(self.config_path)

    @property
    def quiet(self) -> bool:
        """Whether a person wants to hear of errors only."""
        return self.verbosity < 0 and not self.json

    @property
    def progress(self) -> ProgressFactory:
        """Return what opens progress bars."""
        return bars(wanted=not (self.no_progress or self.json or self.quiet))

    def say(self, text: str) -> None:
        """Print to a person: nothing under --json or -q."""
        if not (self.json or self.quiet):
            click.echo(text)

    def show(self, line: str) -> None:
        """Print what was asked for: also under -q, not under --json."""
        if not self.json:
            click.echo(line)

    def emit(self, value: Any) -> None:
        """Print one JSON object under --json."""
        if self.json:
            json.dump(value, sys.stdout, default=str)
            sys.stdout.write("\n")

    @property
    def lock_path(self) -> Path:
        """The lock file of this configuration's state."""
        return self.config.state / "lock"

    @property
    def catalog_path(self) -> Path:
        """The catalog's file."""
        return self.config.state / "catalog.sqlite"

    @contextmanager
    def catalog(self) -> Iterator[Catalog]:
        """Open the catalog alone."""
        with Catalog(self.catalog_path) as catalog:
            yield catalog

    @contextmanager
    def opened(self, *, fill: bool = True) -> Iterator["Opened"]:
        """Open remote, catalog and restic; an empty catalog is first filled from the remote, if wanted."""
        config = self.config
        with open_configured(config) as repository, self.catalog() as catalog:
            if fill and not catalog.manifests():
                sync_catalog(repository.store.data, catalog, self.progress)
            yield Opened(config, repository, catalog, make_restic(config, repository))

    @contextmanager
    def reading(self, *, planned: bool = False) -> Iterator["Reading"]:
        """Open the catalog for looking at points; an empty one is first filled from the remote.

        `planned`: what will be read is known, so the remote is read by whole blocks from the beginning.
        """
        config = self.config
        with self.catalog() as catalog, LazyRepository(lambda: open_configured(config)) as remote:
            if not catalog.manifests():
                sync_catalog(remote.data, catalog, self.progress)
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


def open_configured(config: Config) -> AbstractContextManager[Repository]:
    """Open the repository that the configuration names; raises what `open_repository` raises."""
    password = Secret.from_file(Path(config.password_file))
    return open_repository(
        config.remote, password,
        transfers=config.transfers, bwlimit=config.bwlimit, memory=config.state / "repository",
    )  # fmt: skip


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


pass_app = click.make_pass_decorator(App)


def make_app(config: Path | None, *, json_output: bool, verbosity: int, no_progress: bool) -> App:
    """Build the context object from the global options."""
    return App(config or default_path(), json_output, verbosity, no_progress)
