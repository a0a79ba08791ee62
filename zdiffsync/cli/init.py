"""`zdiffsync init`: a configuration file, a password file and an empty repository on the remote."""

import base64
import json
import os
import secrets
from pathlib import Path

import click

from zdiffsync.cli.context import App, pass_app
from zdiffsync.cli.opening import make_restic
from zdiffsync.errors import UsageError
from zdiffsync.external.rclone_env import shown
from zdiffsync.store.repository import create_repository, has_repository
from zdiffsync.store.secret import Secret


@click.command()
@click.option("--remote", help="Where to back up to: an rclone remote like 'o365:backup', or a directory.")
@click.option("--dataset", "datasets", multiple=True, help="A dataset to back up; may be repeated.")
@click.option("--recursive", is_flag=True, help="Take the datasets' children along.")
@click.option("--password-file", type=click.Path(path_type=Path), help="Made with a new password if missing.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="Where the catalog and caches live.")
@pass_app
def init(
    app: App,
    remote: str | None,
    datasets: tuple[str, ...],
    *,
    recursive: bool,
    password_file: Path | None,
    state_dir: Path | None,
) -> int:
    """Set up a repository, or join one that is there; write the configuration file unless there is one."""
    made: list[Path] = []
    if not app.config_path.exists():
        if remote is None:
            raise UsageError(f"there is no {app.config_path} yet; say where to back up to with --remote")
        password_file = (password_file or app.config_path.parent / "password").absolute()
        state_dir = None if state_dir is None else state_dir.absolute()
        _write_config(app.config_path, remote, password_file, datasets, state_dir, recursive=recursive)
        made.append(app.config_path)
    elif remote or datasets or password_file or state_dir:
        raise UsageError(f"{app.config_path} exists already; change it there, or name another file with -c")
    return app.on_each_remote(lambda one: _set_up(one, made))


def _set_up(app: App, made: list[Path]) -> None:
    made = made.copy()
    try:
        identifier, hosts = _create_or_join(app, made)
    except BaseException:
        for path in made:  # or a second try would have to correct files nobody has written
            path.unlink(missing_ok=True)
        raise
    config = app.config
    written = [str(path) for path in made]
    app.emit(
        {"repository": identifier, "remote": config.remote, "joined": hosts is not None, "written": written}
    )
    state = "is ready" if hosts is None else "was there already"
    app.say(f"Repository {identifier[:8]} {state} at {config.remote}")
    if hosts and config.host in hosts:
        app.say(f"  It has points of host {config.host}. If that is another machine, set host in")
        app.say(f"  {app.config_path}")
    for name in written:
        app.say(f"  wrote {name}")
    if config.password_file in written:
        app.say("  Keep a copy of the password file somewhere else: without it nobody can restore.")
    app.say("Next: zdiffsync run" if config.dataset else f"Next: name a dataset in {app.config_path}")


def _create_or_join(app: App, made: list[Path]) -> tuple[str, set[str] | None]:
    """Make the repository, and its password if there is none; return its id, note in `made` what it wrote.

    Where there is a repository it is opened instead, and the hosts that have points in it are returned, too.
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
            return opened.repository.identifier, {point.host for point in opened.catalog.points()}
    if not password_path.exists():
        _write_private(password_path, base64.b32encode(secrets.token_bytes(30)).decode().lower() + "\n")
        made.append(password_path)
    with create_repository(
        config.remote, Secret.from_file(password_path),
        transfers=config.transfers, bwlimit=config.bwlimit, options=config.rclone_options,
    ) as repository:  # fmt: skip
        make_restic(config, repository).init()
    return repository.identifier, None


def _write_config(
    path: Path,
    remote: str,
    password_file: Path,
    datasets: tuple[str, ...],
    state_dir: Path | None,
    *,
    recursive: bool,
) -> None:
    lines = [
        "# zdiffsync configuration; docs/config.md describes every key",
        f"remote = {json.dumps(remote)}",
        f"password_file = {json.dumps(str(password_file))}",
    ]
    if state_dir is not None:
        lines.append(f"state_dir = {json.dumps(str(state_dir))}")
    for name in datasets:
        lines += ["", "[[dataset]]", f"name = {json.dumps(name)}"]
        lines += ["recursive = true"] if recursive else []
    _write_private(path, "\n".join(lines) + "\n")


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
