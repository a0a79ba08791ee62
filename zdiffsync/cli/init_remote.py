"""The second question of `init`: where to back up to. The answer is tried before it is taken.

Rule: nothing is asked about a remote that rclone can tell, and none is taken that does not work.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from zdiffsync.errors import ToolMissingError, ZdiffsyncError
from zdiffsync.external.rclone_env import config_file, find_rclone, shown
from zdiffsync.external.rclone_remotes import ConfiguredRemote, configured_remotes
from zdiffsync.model.text import size
from zdiffsync.store.probe import Probe, probe
from zdiffsync.store.repository import has_repository

_FOLDER = "backup"


def choose_remote() -> tuple[str, Probe, bool]:
    """Ask until a remote works; return it, what it did, and whether it holds a repository to be joined."""
    _show(configured_remotes())
    while True:
        remote = _ask()
        if remote is None:
            continue
        try:
            found = _try(remote)
            if found is None:
                continue
            if not has_repository(remote):
                return remote, found, False
        except ToolMissingError:
            raise
        except ZdiffsyncError as error:
            click.echo(f"\n  That does not work: {error}\n")
            continue
        click.echo("\nThere is a repository already: another machine's, or this one's of before.")
        if click.confirm("Join it?", default=True):
            return remote, found, True


def _show(remotes: Sequence[ConfiguredRemote]) -> None:
    if not remotes:
        click.echo("rclone knows no remote yet. Make one in another terminal, as this user, with\n")
        click.echo(f"    {find_rclone()} config\n")
        click.echo(f"which writes {config_file()}. Or give a directory.\n")
        return
    click.echo("Places rclone knows:\n")
    width = max(len(remote.name) for remote in remotes) + 1
    for number, remote in enumerate(remotes, start=1):
        click.echo(f"{number:4}  {remote.name + ':':<{width}}  {remote.kind}")
    click.echo()


def _ask() -> str | None:
    text = click.prompt("Where to? A number, REMOTE:FOLDER or a directory").strip()
    if text.startswith("/"):
        above = Path(text).parent
        if above.is_dir():
            return text
        click.echo(f"There is no {above}; is it mounted?")
        return None
    remotes = configured_remotes()  # anew: one may have been made meanwhile
    if text.isdecimal() and 0 < int(text) <= len(remotes):
        text = f"{remotes[int(text) - 1].name}:"
    if ":" not in text and text in {remote.name for remote in remotes}:
        text += ":"
    name = text.partition(":")[0]
    if name and "," not in name and ":" in text and name not in {remote.name for remote in remotes}:
        click.echo(f"rclone does not know {name}:")
        return None
    if ":" not in text:
        click.echo("Write it like onedrive:backup, or a directory with a leading slash.")
        return None
    if text.endswith(":") and not text.startswith(":"):
        folder = click.prompt("Folder there (on S3 and the like BUCKET/FOLDER)", default=_FOLDER)
        text += folder.strip("/")
    return text


def _try(remote: str) -> Probe | None:
    click.echo(f"\nTrying {shown(remote)}\n ", nl=False)
    found = probe(remote, told=lambda step: click.echo(f" {step},", nl=False))
    click.echo(" done" if found.unusable is None else "")
    for step in found.steps:
        if step.problem:
            click.echo(f"  {step.name} failed: {step.problem}")
    if found.unusable is not None:
        return None
    times = ", ".join(f"{step.name} {step.seconds:.2f} s" for step in found.steps[1:] if not step.problem)
    click.echo(f"  {times}")
    click.echo(f"  one transfer uploads {size(found.upload_rate)} a second")
    if any(step.problem for step in found.steps):
        click.echo("  Nothing can be deleted there: backups work, but forget and prune free no space.")
        if not click.confirm("Take it all the same?", default=False):
            return None
    return found
