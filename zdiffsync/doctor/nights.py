"""Whether anything runs the backup at night (a timer of systemd, or cron), and whether failures are heard of.

Rule: a backup that nobody starts, or whose failures nobody hears of, is a warning, however well it works.
"""

import os
import pwd
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from zdiffsync.config.config import Config
from zdiffsync.doctor.finding import Finding, fail, ok, warning
from zdiffsync.errors import ToolError
from zdiffsync.external.systemd import Manager, booted
from zdiffsync.schedule.units import SERVICE, TIMER

_CRONTABS = (Path("/etc/crontab"), Path("/etc/cron.d"), Path("/etc/cron.daily"))
_OWN_CRONTABS = Path("/var/spool/cron/crontabs")


def check(config: Config) -> Iterator[Finding]:
    """Yield what starts runs, how the last one ended, and who is told."""
    told = bool(config.notify.urls or config.notify.healthcheck)
    if told:
        yield ok("notify", _told(config))
    if booted():
        manager = Manager(user=os.geteuid() != 0)
        try:
            timer = manager.show(TIMER, "ActiveState")
            service = manager.show(SERVICE, "Result", "ExecMainStatus")
        except ToolError as error:
            yield warning("schedule", str(error))
            return
        if timer["ActiveState"] == "active":
            yield ok("schedule", f"{TIMER} is active")
            if service["Result"] not in {"success", "exit-code"}:
                fix = f"journalctl {'--user ' if manager.user else ''}-u {SERVICE}"
                yield fail("schedule", f"the last run was ended by systemd: {service['Result']}", fix)
            if not manager.lingers():
                yield warning("schedule", "it runs while you are logged in only", "loginctl enable-linger")
            if not told:  # cron mails what a run complains of, systemd does not
                what = "nobody is told when a run fails: set urls or healthcheck in a [notify] table"
                yield warning("notify", what)
            return
    if (found := _cron()) is not None:
        yield ok("schedule", f"cron runs it: {found}")
    elif booted():
        yield warning("schedule", "nothing runs it at night", "zdiffsync schedule install")
    else:
        yield warning(
            "schedule", "nothing runs it at night", "crontab -e   # add: 30 2 * * * zdiffsync -q run"
        )


def _told(config: Config) -> str:
    told = [f"urls (when: {config.notify.when})"] if config.notify.urls else []
    told += ["healthcheck"] if config.notify.healthcheck else []
    return f"{' and '.join(told)} set; zdiffsync notify tries them"


def _cron() -> Path | None:
    """Return a crontab that names zdiffsync."""
    own = _OWN_CRONTABS / pwd.getpwuid(os.geteuid()).pw_name
    for place in (*_CRONTABS, own):
        for path in sorted(place.iterdir()) if place.is_dir() else [place]:
            with suppress(OSError):
                text = path.read_text(encoding="utf-8", errors="replace")
                if any("zdiffsync" in line and not line.startswith("#") for line in text.splitlines()):
                    return path
    return None
