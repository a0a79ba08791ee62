"""Telling people how a run ended: the [notify] table at work.

Rule: what cannot be told is complained of, and changes nothing about the run.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from zdiffsync.cli.message import Message
from zdiffsync.config.notify import NotifyConfig
from zdiffsync.errors import RemoteError
from zdiffsync.external.files import replace_private
from zdiffsync.external.messages import send


class Told(msgspec.Struct, frozen=True):
    """What people were told last: an exit code, and what was wrong."""

    exit_code: int = 0
    concerns: tuple[str, ...] = ()


class Notifier:
    """Sends by one [notify] table; `complain` is told in one sentence what could not be sent."""

    def __init__(self, config: NotifyConfig, state: Path, complain: Callable[[str], None]) -> None:
        self._config, self._path, self._complain = config, state / "told.json", complain

    def told(self) -> Told:
        """Return what people were told last."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Told)
        except (OSError, msgspec.DecodeError):  # at worst something is told once more
            return Told()

    def tells(self, now: Told) -> bool:
        """Return whether people want to hear of an end like this."""
        before = self.told()
        wanted = {
            "problem": bool(now.exit_code or before.exit_code),
            "change": now != before,
            "always": True,
        }
        return bool(self._config.urls) and wanted[self._config.when]

    def tell(self, now: Told, message: Message) -> None:
        """Send a message to everyone, and remember what was told, unless it reached nobody."""
        reached = 0
        for number, address in enumerate(self._config.urls, 1):
            try:
                send(number, address, message.title, message.body, message.mood)
                reached += 1
            except RemoteError as error:
                self._complain(f"not notified: {error}")
        if reached:
            try:
                replace_private(self._path, msgspec.json.encode(now))
            except OSError as error:
                self._complain(f"cannot write {self._path}: {error.strerror}")
