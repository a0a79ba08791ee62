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
from typing import TYPE_CHECKING, Any

import click

from zdiffsync.catalog.catalog import Catalog
from zdiffsync.cli.progress import bars
from zdiffsync.config.config import Config, default_path, load
from zdiffsync.model.progress import ProgressFactory

if TYPE_CHECKING:
    from zdiffsync.cli.opening import Opened, Reading


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

    # What follows needs nearly all there is; to list points it is not even imported.

    def opened(self, *, fill: bool = True) -> AbstractContextManager["Opened"]:
        """Open remote, catalog and restic; an empty catalog is first filled from the remote, if wanted."""
        from zdiffsync.cli.opening import opened  # noqa: PLC0415 - see above

        return opened(self, fill=fill)

    def reading(self, *, planned: bool = False) -> AbstractContextManager["Reading"]:
        """Open the catalog for looking at points; an empty one is first filled from the remote.

        `planned`: what will be read is known, so the remote is read by whole blocks from the beginning.
        """
        from zdiffsync.cli.opening import reading  # noqa: PLC0415 - see above

        return reading(self, planned=planned)


pass_app = click.make_pass_decorator(App)


def make_app(config: Path | None, *, json_output: bool, verbosity: int, no_progress: bool) -> App:
    """Build the context object from the global options."""
    return App(config or default_path(), json_output, verbosity, no_progress)
