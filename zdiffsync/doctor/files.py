"""Our own files: configuration, password, state directory, staging; who may read them, and the room there.

Rule: what another user could read or change is named, with the chmod that ends it.
"""

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from zdiffsync.config.config import Config
from zdiffsync.doctor.finding import Finding, fail, ok, warning
from zdiffsync.errors import ConfigError
from zdiffsync.model.text import size
from zdiffsync.store.secret import Secret

_OTHERS_WRITE, _OTHERS = 0o022, 0o077
_STATE_SPACE = 1 << 30  # bytes; the catalog and restic's cache grow to about 1 % of the base


def check_config(path: Path, configs: Mapping[str, Config]) -> Iterator[Finding]:
    """Yield what is found of the configuration file, which is there; `configs` is what stands in it."""
    path = path.absolute()
    mode = path.stat().st_mode
    if mode & _OTHERS_WRITE:
        yield fail("config", f"{path} can be changed by other users", f"chmod 600 {_quoted(path)}")
    elif mode & _OTHERS and any(map(_holds_secrets, configs.values())):
        what = f"other users can read {path}, which may hold secrets (remote, catalog, [notify])"
        yield warning("config", what, f"chmod 600 {_quoted(path)}")
    elif configs and not any(config.dataset for config in configs.values()):
        fix = f"printf '\\n[[dataset]]\\nname = \"tank/data\"\\n' >> {_quoted(path)}"
        yield fail("config", f"{path} names no dataset, so nothing is backed up", fix)
    elif configs:
        yield ok("config", str(path))


def _holds_secrets(config: Config) -> bool:
    return "," in config.remote or bool(config.catalog or config.notify.urls or config.notify.healthcheck)


def check(config: Config) -> Iterator[Finding]:
    """Yield what is found of each file and place that one remote's part of the configuration names."""
    yield _password(Path(config.password_file))
    yield from _state(config.state)
    yield from _space(config)


def _password(path: Path) -> Finding:
    try:
        Secret.from_file(path)
    except ConfigError as error:
        if not path.exists():
            what = f"{path} is missing; without it nobody can restore: put your copy back"
            return fail("password", what, f"install -m 600 YOUR-COPY {_quoted(path)}")
        return fail(
            "password",
            str(error).partition("; ")[0],
            f"chmod 600 {_quoted(path)}" if path.stat().st_size else None,
        )
    return ok("password", f"{path}, readable by its owner only; is there a copy elsewhere?")


def _state(state: Path) -> Iterator[Finding]:
    if not state.exists():
        above = next(folder for folder in state.parents if folder.exists())
        if os.access(above, os.W_OK | os.X_OK):
            yield ok("state", f"{state} will be made by the first run")
        else:
            what = f"{state} is missing and cannot be made by this user; set state_dir, or"
            yield fail("state", what, f"install -d -m 700 -o $(id -un) {_quoted(state)}   # as root")
        return
    if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        what = f"{state} cannot be written by this user"
        yield fail("state", what, f"chown -R $(id -un) {_quoted(state)}   # as root")
        return
    if state.stat().st_mode & _OTHERS:
        what = f"{state} is open to other users; the catalog there names your files"
        yield warning("state", what, f"chmod 700 {_quoted(state)}")
    foreign = [path for path in state.iterdir() if path.lstat().st_uid != os.geteuid()]
    if foreign:
        what = f"{foreign[0]} belongs to another user; was zdiffsync run as root once?"
        yield fail("state", what, f"chown -R $(id -un) {_quoted(state)}   # as root")
    else:
        yield ok("state", str(state))


def _space(config: Config) -> Iterator[Finding]:
    wanted = config.size("staging_space") + config.size("pack_size")
    free = _free(config.staging)
    if free < wanted:
        what = f"{size(free)} are free at {config.staging}; staging_space and a pack may take {size(wanted)}"
        yield fail("space", what, "make room there, or set staging_dir or a smaller staging_space")
    elif (left := _free(config.state)) < _STATE_SPACE:
        what = f"only {size(left)} are free at {config.state}; the catalog and caches grow there"
        yield warning("space", what, "make room there, or set state_dir")
    else:
        yield ok("space", f"{size(free)} free for staging, {size(left)} for the catalog and caches")


def _free(path: Path) -> int:
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    status = os.statvfs(there)
    return status.f_bavail * status.f_frsize


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
