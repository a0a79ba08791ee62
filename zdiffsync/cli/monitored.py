"""What watches a run from outside: systemd, and a monitor that raises the alarm when it hears nothing.

Around all remotes of a run: the monitor hears that all went well or what did not, once. Rule: however the run
ends, the monitor is told; what cannot be told is complained of and changes nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from zdiffsync.cli.context import App
from zdiffsync.cli.failures import told
from zdiffsync.errors import RemoteError
from zdiffsync.external.healthcheck import ping
from zdiffsync.external.sd_notify import tell_systemd


class Watch:
    """One run that is watched; `address` is the monitor's, None: there is none."""

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._text: list[str] = []
        self._code = 0

    @property
    def has_heard(self) -> bool:
        """Whether any remote's run has told how it ended."""
        return bool(self._text)

    def heard(self, text: str) -> None:
        """Take in how it went with one remote."""
        self._text.append(text)

    def ends(self, code: int) -> int:
        """Note the exit code, and return it."""
        self._code = code
        return code

    def begin(self) -> None:
        """Tell that a run begins."""
        tell_systemd(READY=1, STATUS="begins")
        self._ping("start", "", attempts=1)

    def finish(self) -> None:
        """Tell how it ended."""
        tell_systemd(STATUS=f"ended with exit code {self._code}")
        self._ping(str(self._code or ""), "\n\n".join(self._text), attempts=3)

    def _ping(self, signal: str, text: str, *, attempts: int) -> None:
        if self._address is None:
            return
        try:
            ping(self._address, signal, text, attempts=attempts)
        except RemoteError as error:
            click.echo(f"zdiffsync: {error}", err=True)


@contextmanager
def monitored(app: App, *, dry_run: bool) -> Iterator[Watch]:
    """Watch the run that is the body; a dry run is nobody's business."""
    config = next(iter(app.configs.values()))
    watch = Watch(None if dry_run else config.notify.healthcheck)
    watch.begin()
    try:
        yield watch
    except BaseException as error:
        text, code = told(error)
        watch.ends(code)
        if not watch.has_heard:
            watch.heard(text)
        raise
    finally:
        watch.finish()
