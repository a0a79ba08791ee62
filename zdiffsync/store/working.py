"""Marks of runs under way: since when a host may have uploaded what no manifest names yet.

Set by every run before it uploads, taken away when it has committed; read by prune, which condemns no
pack that is younger than the oldest mark. So a prune does not take for waste what a run on another host is
still uploading, however long that takes. Rule: a mark only ever delays; one left behind counts for 30 days.
"""

import re
import secrets
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from zdiffsync.errors import RemoteError
from zdiffsync.external.files import replace_private
from zdiffsync.store.area import Area

_FOLDER = "working"
_NAME = re.compile(rf"{_FOLDER}/([0-9]{{8}}T[0-9]{{6}}Z)-[0-9a-f]{{8}}")
_TIME = "%Y%m%dT%H%M%SZ"
_COUNTS = timedelta(days=30)
_SKEW = timedelta(hours=1)  # some remotes tell by their own clock when an object came


class WorkMark:
    """This host's mark; its name is remembered in the state directory, so that a killed run's serves on."""

    def __init__(self, area: Area, state: Path) -> None:
        self._area, self._memory = area, state / "working"

    def begin(self) -> None:
        """Set the mark, unless that of a run that broke off is there. Raises RemoteError."""
        now = datetime.now(UTC)
        name = self._remembered()
        since = None if name is None else _time(name)
        if name is None or since is None or since + _COUNTS < now or self._area.size(name) is None:
            name = f"{_FOLDER}/{now.strftime(_TIME)}-{secrets.token_hex(4)}"
            replace_private(self._memory, name.encode())
            self._area.put(name, b"a run is under way\n")

    def end(self) -> None:
        """Take the mark away; where nothing can be deleted it stays."""
        if (name := self._remembered()) is not None:
            with suppress(RemoteError):
                self._area.delete([name])
            self._memory.unlink()

    def _remembered(self) -> str | None:
        with suppress(OSError, UnicodeDecodeError):
            name = self._memory.read_text(encoding="ascii")
            return name if _NAME.fullmatch(name) else None
        return None


def read_marks(area: Area) -> tuple[datetime | None, tuple[str, ...]]:
    """Return since when unfinished work may lie on the remote (None: there is none), and marks that are over.

    Raises RemoteError.
    """
    now = datetime.now(UTC)
    marks = {name: time for name in area.sizes(_FOLDER) if (time := _time(name)) is not None}
    over = tuple(sorted(name for name, time in marks.items() if time + _COUNTS < now))
    live = [time for name, time in marks.items() if name not in over]
    return (min(live) - _SKEW if live else None), over


def _time(name: str) -> datetime | None:
    if match := _NAME.fullmatch(name):
        with suppress(ValueError):  # there is no such day or hour
            return datetime.strptime(match[1], _TIME).replace(tzinfo=UTC)
    return None
