"""The remote, tried for real, and the repository on it.

Rule: the repository is looked at only where the remote works; each trouble is said once.
"""

from collections.abc import Iterator
from pathlib import Path

from zdiffsync.config.config import Config
from zdiffsync.doctor.finding import Finding, fail, ok, warning
from zdiffsync.errors import IntegrityError, ToolMissingError, UsageError, WrongPasswordError, ZdiffsyncError
from zdiffsync.external.rclone_env import shown
from zdiffsync.model.text import plural, size
from zdiffsync.store.probe import Probe, probe
from zdiffsync.store.repository import FORMAT, Repository, open_repository, remembered
from zdiffsync.store.secret import Secret

_PATIENCE = 60.0  # seconds
_SKEW = 120.0  # seconds by which clocks may differ
_DAYS = 86400.0


def check(config: Config) -> Iterator[Finding]:
    """Yield what is found of the remote and of the repository."""
    where = shown(config.remote)
    try:
        found = probe(config.remote, patience=_PATIENCE, options=config.rclone_options)
    except ToolMissingError:
        return  # said by doctor.tools
    except ZdiffsyncError as error:
        yield fail("remote", str(error), _reach(config.remote))
        return
    if not found.there:
        yield fail("remote", f"there is nothing at {where}", _reach(config.remote))
        return
    yield from _judge(config, found)
    yield from _clock(found)
    if found.unusable is None:
        yield from _repository(config)


def _judge(config: Config, found: Probe) -> Iterator[Finding]:
    where = shown(config.remote)
    for step in found.steps:
        if step.problem and step.name != "delete":
            yield fail("remote", f"{where}: {step.name}: {step.problem}")
        elif step.problem:
            what = f"{where}: nothing can be deleted there, so forget and prune free no space: {step.problem}"
            yield warning("remote", what)
    if found.unusable is None:
        times = ", ".join(f"{step.name} {step.seconds:.2f} s" for step in found.steps if not step.problem)
        yield ok("remote", f"{where}: {times}")
        yield ok("remote", f"uploads at {size(found.upload_rate)}/s by one transfer; {_hashes(found)}")
    if found.free is not None and found.free < config.size("pack_size") * config.transfers:
        yield fail("remote", f"only {size(found.free)} are free at {where}", "zdiffsync prune")
    elif found.free is not None:
        yield ok("remote", f"{size(found.free)} are free there")


def _hashes(found: Probe) -> str:
    names = found.abilities.hashes
    if names:
        shown_names = ", ".join(names[:3]) + (", …" if names[3:] else "")
        return f"uploads are verified by hash ({shown_names})"
    return (
        "it keeps no hashes, so uploads are verified by size; read them back by zdiffsync check --read-data"
    )


def _clock(found: Probe) -> Iterator[Finding]:
    if found.ahead is None or abs(found.ahead) > 365 * _DAYS:  # a server that makes times up
        return
    if abs(found.ahead) > _SKEW:
        side = "behind" if found.ahead > 0 else "ahead of"
        what = f"this machine's clock is {abs(found.ahead) / 60:.0f} min {side} the remote's"
        yield warning("clock", what, "timedatectl set-ntp true")
    else:
        yield ok("clock", "agrees with the remote's")


def _repository(config: Config) -> Iterator[Finding]:
    memory = config.state / "repository"
    try:
        password = Secret.from_file(Path(config.password_file))
    except UsageError:
        return  # said by doctor.files
    try:
        with open_repository(
            config.remote,
            password,
            patience=_PATIENCE,
            memory=memory if remembered(memory) else None,
            options=config.rclone_options,
        ) as repository:
            yield ok("repository", f"{repository.identifier}, format {FORMAT}; the password opens it")
            yield from _restic(repository)
    except (WrongPasswordError, IntegrityError) as error:
        yield fail("repository", str(error), f"install -m 600 YOUR-COPY {config.password_file}")
    except UsageError as error:
        fix = "zdiffsync init" if "run zdiffsync init" in str(error) else None
        yield fail("repository", str(error).partition("; run")[0], fix)


def _restic(repository: Repository) -> Iterator[Finding]:
    plain = repository.store.plain
    if plain.size("restic/config") is None:
        what = "its restic folder is gone or was never made: bases cannot be written or read"
        yield fail("repository", what, "zdiffsync check   # then look into the remote's trash")
    elif locks := plain.sizes("restic/locks"):
        what = f"restic holds {plural(len(locks), 'lock')}; the next run removes those of dead processes"
        yield ok("repository", what)


def _reach(remote: str) -> str:
    if remote.startswith("/"):
        return f"ls -ld {remote}   # is what should be mounted there mounted?"
    return f"rclone lsd {shown(remote)}   # does rclone know it, with the right credentials?"
