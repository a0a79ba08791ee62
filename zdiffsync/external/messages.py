"""Messages to people, through Apprise, which knows how to reach them by more than a hundred services.

Rule: an address is a secret; what Apprise says of a failure is told without any piece of it.
"""

import logging
import re
from typing import Literal
from urllib.parse import unquote

from zdiffsync.errors import RemoteError

Mood = Literal["success", "warning", "failure", "info"]

_SHORTEST = 4  # characters of a piece of an address that is worth hiding
_PIECES = re.compile(r"[:/@?&=,]+")


def send(number: int, address: str, title: str, body: str, mood: Mood) -> str:
    """Send a message to one Apprise address, the `number`th of the configuration; return the service's name.

    Raises RemoteError, which names number and service only.
    """
    import apprise  # noqa: PLC0415 - takes most of a second, and only who sends needs it

    place = f"urls: number {number}"
    with apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as log:  # type: ignore[no-untyped-call] # theirs
        service = apprise.Apprise.instantiate(address)
        if service is None:
            raise RemoteError(f"{place} is no address that Apprise understands; see its list of services")
        name = str(service.service_name)
        one = apprise.Apprise()
        one.add(service)
        sent = one.notify(body=body, title=title, notify_type=apprise.NotifyType(mood))
        said = log.getvalue()
    if not sent:
        raise RemoteError(f"{place} ({name}): not sent: {_hidden(said, address)}")
    return name


def _hidden(said: str, address: str) -> str:
    words = " ".join(said.split()) or "Apprise gives no reason"
    pieces = {address, *_PIECES.split(address), *_PIECES.split(unquote(address))}
    for piece in sorted(pieces, key=len, reverse=True):
        if len(piece) >= _SHORTEST:
            words = words.replace(piece, "…")
    return words
