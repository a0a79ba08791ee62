"""What stands around a run of one remote: hooks, the report file, messages to people.

    lock -> before_snapshot -> the run -> after_run -> lock released -> on_failure -> messages

Around all of it, for all remotes, is cli.monitored. The report file is written before each hook that may read
it, and last.
Rule: however a run ends (an error, a bug, Ctrl-C), it passes through all that is left of this; and nothing
here makes an end look better than it was.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
from msgspec.structs import replace

from zdiffsync.backup.report import RunReport
from zdiffsync.backup.snapshots import last_points
from zdiffsync.cli.context import App
from zdiffsync.cli.failures import told
from zdiffsync.cli.journal import Level, Line, worded
from zdiffsync.cli.message import concerns, ending_message, neglected
from zdiffsync.cli.monitored import Watch
from zdiffsync.cli.notifying import Notifier, Told
from zdiffsync.config.config import Config
from zdiffsync.config.hooks import HooksConfig
from zdiffsync.config.notify import NotifyConfig
from zdiffsync.errors import ExitCode, ToolError, ZdiffsyncError
from zdiffsync.external.files import replace_private
from zdiffsync.external.hook import run_hook
from zdiffsync.external.sd_notify import tell_systemd


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended that came to its end: exit code, and its report as values and as lines."""

    code: int
    values: dict[str, Any]
    lines: Sequence[Line]
    report: RunReport


@dataclass(frozen=True, slots=True)
class HookRun:
    """One hook that was run: all it said, and why it failed or None."""

    name: str
    output: str
    failure: str | None


class Night:
    """One run that is attended to. A dry run has nothing around it and leaves nothing."""

    def __init__(
        self, app: App, config: Config, datasets: Sequence[str], watch: Watch, *, dry_run: bool
    ) -> None:
        if dry_run:
            config = replace(config, hooks=HooksConfig(), notify=NotifyConfig())
        self.code = int(ExitCode.BUG)
        self._app, self._config, self._watch = app, config, watch
        self._datasets = datasets or [item.name for item in config.dataset]
        self._lines: list[Line] = []
        self._values: dict[str, Any] = {}
        self._error: str | None = None
        self._report: RunReport | None = None
        self._hooks: list[HookRun] = []
        self._interrupt: KeyboardInterrupt | None = None
        self._report_path = None if dry_run else config.state / "report.json"
        self._notifier = Notifier(config.notify, config.state, self._complain)

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Run the hooks around the body, which is to end with `ends`. Raises ToolError for the first hook."""
        try:
            self._before_snapshot()
            yield
        except BaseException as error:
            self._fails(error)
            raise
        finally:
            self._step(self._after_run)

    def ends(self, ending: Ending) -> None:
        """Take in how the run ended, and print it for people."""
        self.code, self._values, self._report = ending.code, ending.values, ending.report
        self._lines = [*ending.lines]
        if not self._app.quiet:
            self._app.say(worded(ending.lines, sys.stdout))
        elif self.code:  # cron mails what stands here, so it must say what went wrong
            self._app.complain(worded(ending.lines, sys.stderr))

    def finish(self, error: BaseException | None) -> None:
        """Do what is left after a run, which `error` has ended or nothing."""
        if error is not None:
            self._fails(error)
        if self.code:
            self._step(lambda: self._hook("on_failure"))
        self._step(self._tell)
        self._step(self._write_report)
        self._watch.heard("\n".join(text for _level, text in self._lines))
        if self._interrupt is not None and error is None:
            raise self._interrupt

    def emit(self) -> None:
        """Print the report under --json."""
        self._app.emit(self._as_values())

    def _fails(self, error: BaseException) -> None:
        before, (self._error, self.code) = self._error, told(error)
        if before is None:  # hooks and finish are told of the same error
            self._lines.append((Level.ERROR, self._error))

    def _step(self, step: Callable[[], object]) -> None:
        """Take one step; whatever becomes of it, the next one is taken, too."""
        try:
            step()
        except KeyboardInterrupt as error:  # ends this step alone
            self._interrupt = error
        except Exception as error:  # noqa: BLE001 - a bug here must not keep the other steps from being taken
            self._complain(told(error)[0])

    def _before_snapshot(self) -> None:
        if failure := self._hook("before_snapshot"):
            raise ToolError(f"the hook before_snapshot {failure}; nothing was backed up")

    def _after_run(self) -> None:
        if self._hook("after_run") and not self.code:
            self.code = int(ExitCode.INCOMPLETE)

    def _hook(self, name: str) -> str | None:
        """Run a hook, if there is one; return why it failed, or None."""
        command = getattr(self._config.hooks, name)
        if command is None:
            return None
        tell_systemd(STATUS=f"hook {name}")
        if name != "before_snapshot":
            self._step(self._write_report)
        patience = self._config.hooks.patience().total_seconds()
        try:
            ran = HookRun(name, *run_hook(command, self._environment(name), patience))
        except (ToolError, OSError) as error:
            ran = HookRun(name, "", f"could not be run: {told(error)[0]}")
        self._hooks.append(ran)
        if ran.output and (ran.failure or not self._app.quiet):
            said = [(Level.INFO, f"{name}: {line}") for line in ran.output.splitlines()]
            self._to_stderr(worded(said, sys.stderr))
        if ran.failure:
            self._lines.append((Level.ERROR, f"the hook {name} {ran.failure}"))
            self._complain(f"the hook {name} {ran.failure}")
        return ran.failure

    def _environment(self, name: str) -> dict[str, str]:
        known = {
            "ZDIFFSYNC_HOOK": name,
            "ZDIFFSYNC_HOST": self._config.host,
            "ZDIFFSYNC_REPO": self._app.repo or "",
            "ZDIFFSYNC_DATASETS": "\n".join(self._datasets),
            "ZDIFFSYNC_CONFIG": str(self._app.config_path.absolute()),
        }
        if name == "before_snapshot":
            return known
        wrong = "\n".join(text for level, text in self._lines if level < Level.INFO)
        ending = {"ZDIFFSYNC_EXIT_CODE": str(self.code), "ZDIFFSYNC_PROBLEMS": wrong}
        return known | ending | {"ZDIFFSYNC_REPORT": str(self._report_path)}

    def _write_report(self) -> None:
        if self._report_path is not None:
            replace_private(self._report_path, json.dumps(self._as_values(), default=str).encode())

    def _as_values(self) -> dict[str, Any]:
        hooks = [{"name": ran.name, "output": ran.output, "failure": ran.failure} for ran in self._hooks]
        error = {} if self._error is None else {"error": self._error}
        return {**self._values, **error, "hooks": hooks, "exit_code": self.code}

    def _tell(self) -> None:
        now = Told(self.code, concerns(self._report))
        if not self._notifier.tells(now):
            return
        before = self._notifier.told()
        lines = [*self._lines, *self._last_points()] if self.code else self._lines
        recovered = bool(before.exit_code)
        place = self._config.host + (f" to {self._app.repo}" if self._app.repo else "")
        message = ending_message(place, self.code, lines, self._report, recovered=recovered)
        self._notifier.tell(now, message)

    def _last_points(self) -> list[Line]:
        """Return how old the last points are, where the catalog can tell."""
        if not self._app.catalog_path.exists():
            return []
        try:
            with self._app.catalog() as catalog:
                mine = [point for point in catalog.points() if point.host == self._config.host]
        except ZdiffsyncError:  # the run has said what is wrong with it
            return []
        wanted = [
            point
            for point in last_points(mine).values()
            if any(item.includes(point.dataset) for item in self._config.dataset)
        ]
        return [(Level.WARNING, line) for line in neglected(wanted)]

    def _complain(self, text: str) -> None:
        self._to_stderr(worded([(Level.WARNING, f"zdiffsync: {text}")], sys.stderr))

    def _to_stderr(self, text: str) -> None:
        if self._app.json:  # whose reader has the rest, but not what becomes of messages
            click.echo(text, err=True)
        else:
            self._app.complain(text)


@contextmanager
def attended(
    app: App, config: Config, datasets: Sequence[str], watch: Watch, *, dry_run: bool
) -> Iterator[Night]:
    """Attend to the run that is the body; `datasets` are those it was called for, none: all."""
    night = Night(app, config, datasets, watch, dry_run=dry_run)
    try:
        yield night
    except BaseException as error:
        night.finish(error)
        raise
    night.finish(None)
    night.emit()
