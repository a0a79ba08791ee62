"""What `init` does once it knows everything: write files, make the repository or join the one there.

Rule: when it fails or is broken off, all files are gone again that were not there before.
"""

import base64
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from zdiffsync.catalog.catalog import Point
from zdiffsync.cli.context import App
from zdiffsync.cli.init_plan import Plan
from zdiffsync.cli.opening import make_restic
from zdiffsync.config.config import Config, load
from zdiffsync.errors import UsageError
from zdiffsync.external.files import replace_private
from zdiffsync.external.rclone_env import shown
from zdiffsync.external.restic import check_restic
from zdiffsync.store.repository import create_repository, has_repository
from zdiffsync.store.secret import Secret


@dataclass(slots=True)
class Made:
    """Files that were not there before."""

    paths: list[Path] = field(default_factory=list)

    def write(self, path: Path, text: str) -> None:
        """Write a new private file. Raises FileExistsError."""
        _write_private(path, text)
        self.paths.append(path)

    def rewrite(self, path: Path, text: str) -> None:
        """Write one of them anew."""
        assert path in self.paths, "only what was written here"
        replace_private(path, text.encode())


@dataclass(frozen=True, slots=True)
class Ready:
    """A repository that can be used. `points` are those of one that was there already, else None."""

    config: Config
    repository: str
    points: Sequence[Point] | None
    written: tuple[str, ...]

    @property
    def hosts(self) -> frozenset[str] | None:
        """The machines that have points there; None for a new repository."""
        return None if self.points is None else frozenset(point.host for point in self.points)


@contextmanager
def undone(plan: Plan, config_path: Path) -> Iterator[Made]:
    """Write the configuration, and a typed password; unless the body ends well, undo that."""
    made = Made()
    new = [folder for folder in config_path.absolute().parents if not folder.exists()]
    state: Path | None = None
    try:
        made.write(config_path, plan.text())
        folder = load(config_path).state
        state = None if folder.exists() else folder
        if plan.password is not None:
            made.write(plan.password_file, plan.password + "\n")
        yield made
    except BaseException:
        for path in made.paths:  # or a second try would have to correct files nobody has written
            path.unlink(missing_ok=True)
        for folder in new:
            with suppress(OSError):  # something of others is in it
                folder.rmdir()
        if state is not None:
            shutil.rmtree(state, ignore_errors=True)
        raise


def set_up(app: App, written: Sequence[Path]) -> Ready:
    """Make the repository that the configuration names, and its password if there is none, or join it.

    `written`: files that were written for it before. Raises UsageError, RemoteError, ToolMissingError.
    """
    config = app.config
    password_path = Path(config.password_file)
    if has_repository(config.remote):
        if not password_path.exists():
            raise UsageError(
                f"{shown(config.remote)} already holds a repository; choose another place, or put the "
                f"repository's password into {password_path} (mode 0600) to join it"
            )
        with app.opened() as opened:
            points = opened.catalog.points()
            return Ready(config, opened.repository.identifier, points, tuple(map(str, written)))
    check_restic()  # before anything is on the remote
    made = Made([*written])
    mine = not password_path.exists()
    try:
        if mine:
            made.write(password_path, base64.b32encode(secrets.token_bytes(30)).decode().lower() + "\n")
        with create_repository(
            config.remote, Secret.from_file(password_path),
            transfers=config.transfers, bwlimit=config.bwlimit, options=config.rclone_options,
        ) as repository:  # fmt: skip
            make_restic(config, repository).init()
    except BaseException:
        if mine:
            password_path.unlink(missing_ok=True)
        raise
    return Ready(config, repository.identifier, None, tuple(map(str, made.paths)))


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
