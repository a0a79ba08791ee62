"""What every command starts from: global options, the configuration, the opened repository.

With several remotes a command works on each in turn, by `on_each_remote`, or on one: the chosen, else the
first. Rule: nothing is opened before a command asks for it, so --help and usage errors are instant, and
looking at points opens the remote only for what no cache holds.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zdiffsync.catalog.catalog import Catalog
from zdiffsync.cli.failures import told
from zdiffsync.cli.progress import bars
from zdiffsync.config.config import Config, default_path, load, load_all
from zdiffsync.config.opening import catalog_path, open_catalog
from zdiffsync.errors import ExitCode, RemoteError
from zdiffsync.model.progress import ProgressFactory

if TYPE_CHECKING:
    from zdiffsync.cli.opening import Opened, Reading


@dataclass(slots=True)
class App:
    """The global options."""

    config_path: Path
    repo: str | None = None
    json: bool = False
    verbosity: int = 0
    no_progress: bool = False
    heading: str | None = None
    collected: list[Any] | None = None

    @property
    def config(self) -> Config:
        """Read the configuration file, for the chosen remote or the first."""
        return load(self.config_path, self.repo)

    @property
    def configs(self) -> dict[str, Config]:
        """Read the configuration file, for the chosen remote or all; by name ('': the only one)."""
        configs = load_all(self.config_path)
        return configs if self.repo is None else {self.repo: load(self.config_path, self.repo)}

    @property
    def others(self) -> list["App"]:
        """The same with each other remote than the one that `config` is of."""
        names = list(load_all(self.config_path))
        return [replace(self, repo=name) for name in names if name != (self.repo or names[0])]

    def on_each_remote(
        self,
        work: Callable[["App"], int | None],
        *,
        concerns: Callable[[Config], bool] = lambda _config: True,
    ) -> int:
        """Do `work` for every remote that it `concerns`, or for the chosen one; return the exit code.

        With several each gets its heading, or under --json its own object in one for all, and one that fails
        keeps none of the others from its turn: the code is that of the first failure, INCOMPLETE if none.
        """
        configs = self.configs
        if len(configs) == 1:
            return work(self) or 0
        codes, values = [], []
        for name in [name for name, config in configs.items() if concerns(config)]:
            one = replace(self, repo=name, heading=f"remote {name}", collected=[])
            try:
                code = work(one) or 0
            except BrokenPipeError:
                raise
            except Exception as error:  # noqa: BLE001 - told and counted; the other remotes are to have theirs
                text, code = told(error, verbose=self.verbosity > 0)
                one.emit({"error": text, "exit_code": code})
                one.complain(f"zdiffsync: {text}")
            codes.append(code)
            values += [{"repo": name, **value} for value in one.collected or ()]
        failed = (code for code in codes if code not in {ExitCode.DONE, ExitCode.INCOMPLETE})
        code = next(failed, max(codes, default=0))
        self.emit({"remotes": values, "exit_code": code})
        return code

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
            self._echo(text)

    def show(self, line: str) -> None:
        """Print what was asked for: also under -q, not under --json."""
        if not self.json:
            self._echo(line)

    def complain(self, text: str) -> None:
        """Print what is wrong to standard error: also under -q, not under --json."""
        if not self.json:
            self._echo(text, err=True)

    def _echo(self, text: str, *, err: bool = False) -> None:
        if self.heading is not None:
            click.echo(self.heading, err=err)
            self.heading = None
        click.echo(text, err=err)

    def emit(self, value: Any) -> None:
        """Print one JSON object under --json."""
        if self.json and self.collected is not None:
            self.collected.append(value)
        elif self.json:
            json.dump(value, sys.stdout, default=str)
            sys.stdout.write("\n")

    @property
    def lock_path(self) -> Path:
        """The lock file of this configuration's state."""
        return self.config.state / "lock"

    @property
    def catalog_path(self) -> Path:
        """See config.opening."""
        return catalog_path(self.config)

    def catalog(self) -> AbstractContextManager[Catalog]:
        """Open the catalog alone."""
        return open_catalog(self.config)

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

        return self._or_elsewhere(reading(self, planned=planned))

    @contextmanager
    def _or_elsewhere(self, opening: AbstractContextManager["Reading"]) -> Iterator["Reading"]:
        """Say where the other copies are when the remote fails that nobody has asked for by its name."""
        try:
            with opening as reading:
                yield reading
        except RemoteError as error:
            if self.repo is not None or not (others := [other.repo for other in self.others]):
                raise
            raise RemoteError(
                f"{error}; there is {', '.join(map(str, others))}, too: --repo {others[0]}"
            ) from error


pass_app = click.make_pass_decorator(App)


def make_app(
    config: Path | None, repo: str | None = None, *, json_output: bool, verbosity: int, no_progress: bool
) -> App:
    """Build the context object from the global options."""
    return App(config or default_path(), repo, json_output, verbosity, no_progress)
