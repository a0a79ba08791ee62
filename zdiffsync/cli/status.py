"""`zdiffsync status`: how the backups are doing, at a glance, and as an exit code for monitoring."""

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import click

from zdiffsync.backup.sync import sync_catalog
from zdiffsync.catalog.catalog import Catalog
from zdiffsync.cli import complete
from zdiffsync.cli.context import App, pass_app
from zdiffsync.cli.status_text import host_lines, status_lines
from zdiffsync.cli.status_values import host_values, status_values
from zdiffsync.config.looking import look_of
from zdiffsync.config.opening import open_configured
from zdiffsync.errors import ExitCode, UsageError, ZdiffsyncError
from zdiffsync.external.rclone_env import shown
from zdiffsync.maintain.fleet import look_at_hosts
from zdiffsync.maintain.status_look import look_at
from zdiffsync.model.text import local

_WIDTH = 80  # columns where there is no terminal
_SHORTEST = 0.2  # seconds
_ALTERNATE, _NORMAL = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # with the cursor hidden, and back
_HOME, _REST_OF_LINE, _REST = "\x1b[H", "\x1b[K", "\x1b[J"


@click.command()
@click.argument("datasets", nargs=-1, shell_complete=complete.datasets)
@click.option(
    "--all-hosts", is_flag=True, help="Show all hosts that use the remote, as the remote knows them."
)
@click.option(
    "--watch", type=float, is_flag=False, flag_value=5, metavar="[SECONDS]",
    help="Stay, and look again every 5 (or so many) seconds.",
)  # fmt: skip
@pass_app
def status(app: App, datasets: tuple[str, ...], *, all_hosts: bool, watch: float | None) -> int:
    """Show how old the last point of each dataset is and what is wrong; all about DATASETS."""
    asked = _Asked(datasets, all_hosts)
    if watch is not None:
        if app.json or not sys.stdout.isatty():
            raise UsageError("--watch draws on a terminal; without one call status again and again")
        return _watch(app, asked, max(watch, _SHORTEST))
    return app.on_each_remote(lambda one: _show(one, asked))


@dataclass(frozen=True, slots=True)
class _Asked:
    datasets: Sequence[str]
    all_hosts: bool


def _show(app: App, asked: _Asked) -> int:
    lines, values, well = _look(app, asked, may_ask=True)
    code = int(ExitCode.DONE if well else ExitCode.INCOMPLETE)
    app.emit({**values, "exit_code": code})
    if app.quiet and well:
        return code
    for line in lines:
        app.show(line)
    return code


def _look(app: App, asked: _Asked, *, may_ask: bool) -> tuple[list[str], dict[str, Any], bool]:
    """Return what to print, the same as JSON values, and whether all is well; `may_ask` the remote."""
    now_ns = time.time_ns()
    return _hosts(app, asked, now_ns) if asked.all_hosts else _own(app, asked, now_ns, may_ask=may_ask)


def _own(app: App, asked: _Asked, now_ns: int, *, may_ask: bool) -> tuple[list[str], dict[str, Any], bool]:
    config = app.config
    with app.catalog() as catalog:
        note = _fill(app, catalog) if may_ask and not catalog.manifests() else None
        found = look_at(look_of(config), catalog, now_ns)
    if note is not None:
        found = replace(found, notes=[*found.notes, note])
    if asked.datasets:
        _ensure_known(asked.datasets, [each.dataset for each in found.datasets])
        chosen = [each for each in found.datasets if each.dataset in asked.datasets]
        found = replace(found, datasets=chosen, former=())
    lines = status_lines(found, now_ns, _width(), detailed=bool(asked.datasets))
    return lines, status_values(found, now_ns), found.is_well


def _fill(app: App, catalog: Catalog) -> str | None:
    """Bring an empty catalog up to the remote; return why that was not possible, if so."""
    try:
        with open_configured(app.config) as repository:
            sync_catalog(repository.store.data, catalog, app.progress)
    except ZdiffsyncError as error:
        return f"the catalog is empty, and the remote cannot be asked: {error}"
    return None


def _hosts(app: App, asked: _Asked, now_ns: int) -> tuple[list[str], dict[str, Any], bool]:
    with app.opened(fill=False) as opened:
        sync_catalog(opened.repository.store.data, opened.catalog, app.progress)
        found = look_at_hosts(opened.catalog, now_ns, opened.config.stale_age())
    if asked.datasets:
        _ensure_known(asked.datasets, [each.dataset for each in found])
        found = [each for each in found if each.dataset in asked.datasets]
    well = bool(found) and all(each.state == "ok" for each in found)
    lines = host_lines(shown(app.config.remote), found, now_ns, _width())
    return lines, {"hosts": [host_values(each, now_ns) for each in found]}, well


def _ensure_known(wanted: Sequence[str], backed_up: Sequence[str]) -> None:
    if unknown := set(wanted) - set(backed_up):
        names = ", ".join(dict.fromkeys(backed_up)) or "none"
        raise UsageError(f"{min(unknown)} is not backed up; backed up are {names}")


def _width() -> int:
    return shutil.get_terminal_size((_WIDTH, 24)).columns if sys.stdout.isatty() else _WIDTH


def _watch(app: App, asked: _Asked, pause: float) -> int:
    """Draw over and over, until Ctrl-C, which is how it is meant to end."""
    out = sys.stdout
    out.write(_ALTERNATE)
    try:
        for turn in count():
            lines: list[str] = []
            for name in app.configs:
                one = replace(app, repo=name or None, no_progress=True)
                lines += [
                    *([] if not name else [f"remote {name}"]),
                    *_look(one, asked, may_ask=not turn)[0],
                    "",
                ]
            room = shutil.get_terminal_size().lines - 1
            lines = [f"{local(time.time_ns())}, every {pause:g} s, Ctrl-C ends", "", *lines][:room]
            text = "".join(f"{line}{_REST_OF_LINE}\n" for line in lines)
            out.write(f"{_HOME}{text}{_REST}")
            out.flush()
            time.sleep(pause)
    except KeyboardInterrupt:
        pass
    finally:
        out.write(_NORMAL)
        out.flush()
    return int(ExitCode.DONE)
