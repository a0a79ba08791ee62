"""Opening what the configuration names: the repository, and the catalog of its points.

Rule: a catalog on this host alone is opened without a thought of the remote.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from zdiffsync.catalog.catalog import Catalog, renewed
from zdiffsync.catalog.database import Database, shared_catalog
from zdiffsync.config.config import Config

if TYPE_CHECKING:
    from zdiffsync.store.repository import Repository


def open_configured(config: Config) -> "AbstractContextManager[Repository]":
    """Open the repository that the configuration names; raises what `open_repository` raises."""
    from zdiffsync.store.repository import open_repository  # noqa: PLC0415 - a catalog alone needs no rclone
    from zdiffsync.store.secret import Secret  # noqa: PLC0415 - the same

    password = Secret.from_file(Path(config.password_file))
    return open_repository(
        config.remote, password,
        transfers=config.transfers, bwlimit=config.bwlimit, memory=config.state / "repository",
        options=config.rclone_options,
    )  # fmt: skip


def catalog_path(config: Config) -> Path:
    """Return the catalog's file; beside a shared catalog it holds what is this host's alone."""
    return config.state / "catalog.sqlite"


def open_catalog(config: Config, *, anew: bool = False) -> AbstractContextManager[Catalog]:
    """Open the catalog; `anew`: an empty one, or one begun before, that takes its place at the end.

    Raises CatalogError; with a shared catalog ConfigError, and what `open_configured` raises.
    """
    make, path = renewed if anew else Catalog, catalog_path(config)
    return make(path) if config.catalog is None else make(_shared(config, config.catalog), path)


def _shared(config: Config, url: str) -> Database:
    from zdiffsync.store.repository import remembered  # noqa: PLC0415 - a catalog alone needs no rclone

    repository = remembered(config.state / "repository")
    if repository is None:
        with open_configured(config) as opened:
            repository = opened.identifier
    return shared_catalog(url, repository)
