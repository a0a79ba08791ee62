"""`zdiffsync schedule`: a run every night, started by systemd.

Rule: what the units need of this shell (programs, paths) is found out at `install`, so that what works by
hand works at night, too.
"""

import os
import shlex
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from typing import Any

import click

from zdiffsync.cli.context import App, pass_app
from zdiffsync.cli.text import local
from zdiffsync.config.config import default_path
from zdiffsync.errors import ToolMissingError
from zdiffsync.external.rclone_env import config_file
from zdiffsync.external.systemd import Manager, booted, moment
from zdiffsync.schedule.units import NIGHTLY, SERVICE, TIMER, NightlyJob

_TOOLS = ("restic", "setpriv", "zfs")


@click.group()
def schedule() -> None:
    """Run every night by a timer of systemd."""


@schedule.command()
@click.option(
    "--at", default=NIGHTLY, show_default=True, help="When, as in systemd.time(7): '03:15', 'hourly'."
)
@click.option("--dry-run", is_flag=True, help="Print the units; change nothing.")
@pass_app
def install(app: App, *, at: str, dry_run: bool) -> None:
    """Write the units, anew where there are some, and start the timer."""
    manager = _manager()
    job = _job(app, at, user=manager.user)
    units = job.units()
    if dry_run:
        app.emit({"folder": str(manager.folder), "units": units})
        for name, text in units.items():
            app.show(f"# {manager.folder / name}\n{text}")
        return
    _ensure_systemd(job)
    manager.install(units, TIMER)
    state = _State.read(manager)
    app.emit({"folder": str(manager.folder), "next_ns": state.next_ns})
    app.say(f"Wrote {SERVICE} and {TIMER} to {manager.folder}")
    app.say(f"Next run: {_time(state.next_ns)}")
    if not manager.lingers():
        app.say("It runs while you are logged in only, unless you once say: loginctl enable-linger")


@schedule.command()
@pass_app
def status(app: App) -> None:
    """Show the next and the last run, and how it ended."""
    _ensure_systemd(NightlyJob())
    state = _State.read(_manager())
    app.emit(state.values())
    app.show("\n".join(state.lines()))


@schedule.command()
@pass_app
def remove(app: App) -> None:
    """Stop the timer and delete the units; a run that is going on is left alone."""
    _ensure_systemd(NightlyJob())
    manager = _manager()
    removed = manager.remove((SERVICE, TIMER), TIMER)
    app.emit({"removed": removed})
    app.say(f"Removed {SERVICE} and {TIMER} from {manager.folder}" if removed else "Nothing was scheduled")


@dataclass(frozen=True, slots=True)
class _State:
    """What systemd knows of the timer and the service; times in ns since 1970, None: never."""

    scheduled: bool
    next_ns: int | None
    started_ns: int | None
    ended_ns: int | None
    running: bool
    result: str
    exit_code: int
    doing: str

    @classmethod
    def read(cls, manager: Manager) -> "_State":
        timer = manager.show(TIMER, "ActiveState", "NextElapseUSecRealtime", "LastTriggerUSec")
        service = manager.show(
            SERVICE, "ActiveState", "Result", "ExecMainStatus", "ExecMainStartTimestamp",
            "ExecMainExitTimestamp", "StatusText",
        )  # fmt: skip
        return cls(
            timer["ActiveState"] == "active",
            moment(timer["NextElapseUSecRealtime"]),
            moment(service["ExecMainStartTimestamp"]) or moment(timer["LastTriggerUSec"]),
            moment(service["ExecMainExitTimestamp"]),
            service["ActiveState"] in {"active", "activating", "deactivating"},
            service["Result"],
            int(service["ExecMainStatus"]),
            service["StatusText"],
        )

    def values(self) -> dict[str, Any]:
        ended = self.ended_ns is not None
        return {
            "scheduled": self.scheduled,
            "next_ns": self.next_ns,
            "running": self.running,
            "doing": self.doing or None,
            "started_ns": self.started_ns,
            "ended_ns": self.ended_ns,
            "exit_code": self.exit_code if ended else None,
            "result": self.result if ended else None,
        }

    def lines(self) -> list[str]:
        lines = [f"next run  {_time(self.next_ns)}" if self.scheduled else "next run  none is scheduled"]
        if self.running:
            doing = f": {self.doing}" if self.doing else ""
            return [*lines, f"running   since {_time(self.started_ns)}{doing}"]
        lines.append(f"last run  {_time(self.started_ns)}")
        if self.ended_ns is not None:
            how = "done" if self.result == "success" else f"failed ({self._failure()})"
            return [*lines, f"ended     {_time(self.ended_ns)}, {how}"]
        return lines

    def _failure(self) -> str:
        return f"exit code {self.exit_code}" if self.result == "exit-code" else self.result


def _time(time_ns: int | None) -> str:
    return "never" if time_ns is None else local(time_ns)


def _manager() -> Manager:
    return Manager(user=os.geteuid() != 0)


def _job(app: App, at: str, *, user: bool) -> NightlyJob:
    path, written = app.config_path.absolute(), [os.path.dirname(config_file())]
    for config in app.configs.values():
        written += [str(config.state), str(config.staging)]
        written += [config.remote] if config.remote.startswith("/") else []
        written += [os.path.dirname(config.metrics_file)] if config.metrics_file else []
    tools = [os.path.dirname(os.path.abspath(found)) for tool in _TOOLS if (found := shutil.which(tool))]
    return NightlyJob(
        _program(), None if path == default_path() else str(path), str(path.parent / "environment"), at,
        tuple(tools), tuple(written), user,
    )  # fmt: skip


def _program() -> str:
    """Return the program that was called, else the one on PATH or beside our Python."""
    beside = os.path.join(sysconfig.get_path("scripts"), "zdiffsync")
    for candidate in (sys.argv[0], "zdiffsync", beside):
        found = shutil.which(candidate)
        if found is not None and os.path.basename(found) == "zdiffsync":
            return os.path.abspath(found)
    raise ToolMissingError("the program zdiffsync itself is not installed; install it with pipx")


def _ensure_systemd(job: NightlyJob) -> None:
    if not booted():
        command = shlex.join([*job.command[:-1], "-q", "run"])
        raise ToolMissingError(
            "systemd does not run this machine; let cron do it, with this line in crontab -e: "
            f"30 2 * * * {command}"
        )
