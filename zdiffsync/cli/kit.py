"""`zdiffsync kit`: one page of paper that leads back to the backup.

Rule: never the password, nor the parameters of a connection string; and no remote is asked where the id of
the repository is remembered.
"""

import re
import shlex
from datetime import datetime

import click

from zdiffsync.cli.context import App, pass_app
from zdiffsync.config.config import Config
from zdiffsync.config.opening import open_configured
from zdiffsync.external.rclone_env import shown
from zdiffsync.store.repository import FORMAT, remembered

_INDENT = "\n" + " " * 12
_BLANK = "_" * 64


@click.command()
@pass_app
def kit(app: App) -> int:
    """Print a recovery sheet to keep on paper: where the backup is, what opens it, how to restore it."""
    return app.on_each_remote(_kit)


def _kit(app: App) -> None:
    config = app.config
    repository = _repository(config)
    app.emit(
        {
            "remote": shown(config.remote),
            "repository": repository,
            "format": FORMAT,
            "host": config.host,
            "password_file": config.password_file,
            "config": str(app.config_path.absolute()),
            "rclone_remote": _rclone_remote(config),
            "datasets": [{"name": item.name, "recursive": item.recursive} for item in config.dataset],
            "with_zdiffsync": _with_zdiffsync(),
            "without_zdiffsync": _without_zdiffsync(config),
        }
    )
    app.show("\n".join(sheet(app, config, repository)))


def _repository(config: Config) -> str:
    known = remembered(config.state / "repository")
    if known is not None:
        return known
    with open_configured(config) as repository:
        return repository.identifier


def sheet(app: App, config: Config, repository: str) -> list[str]:
    """Return the page, line by line; `repository` is the id."""
    datasets = [item.name + (" and all below it" if item.recursive else "") for item in config.dataset]
    lines = [
        f"RECOVERY SHEET of the backup of {config.host}, printed {datetime.now().astimezone():%Y-%m-%d}",
        "",
        f"backed up   {_INDENT.join(datasets) or 'nothing yet'}",
        f"kept at     {shown(config.remote)}",
        f"repository  {repository} (zdiffsync, format {FORMAT})",
        f"password    in {config.password_file} on {config.host}.",
        "            Nobody can restore without it. It is also kept at",
        f"            {_BLANK}",
    ]
    if (name := _rclone_remote(config)) is not None:
        lines += [
            f"access      rclone has to know the remote {name!r}. Its configuration (the",
            "            command rclone config file tells where it is) is also kept at",
            f"            {_BLANK}",
        ]
    lines += [
        "",
        "Restore with zdiffsync. A new machine needs remote and password_file in its",
        f"configuration, which was {app.config_path.absolute()} here.",
        "",
        *(f"    {command}" for command in _with_zdiffsync()),
        "",
        "Restore without zdiffsync, with Python, rclone, restic and zstd. RECOVERY.md,",
        "which lies beside recover.py, says more.",
        "",
        *(f"    {command}" for command in _without_zdiffsync(config)),
        "",
        "Try it once a year.",
    ]
    return lines


def _rclone_remote(config: Config) -> str | None:
    """Return the name of the remote that rclone's configuration has to define, None where it need not."""
    remote = re.match(r"[^/:,][^:,]*", config.remote)
    return None if remote is None else remote[0]


def _with_zdiffsync() -> list[str]:
    return ["zdiffsync points", "zdiffsync restore POINT --to DIRECTORY"]


def _without_zdiffsync(config: Config) -> list[str]:
    remote = shown(config.remote)
    program = remote + ("" if remote.endswith((":", "/")) else "/") + "recover.py"
    recover = f"python3 recover.py --remote {shlex.quote(remote)} --password-file FILE"
    return [
        f"rclone copyto {shlex.quote(program)} recover.py",
        f"{recover} points",
        f"{recover} restore POINT --to DIRECTORY",
    ]
