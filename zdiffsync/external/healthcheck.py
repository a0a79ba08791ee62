"""Pings to a monitor like healthchecks.io, which raises the alarm when none comes.

Rule: the address is a secret; no error names more of it than the host.
"""

import urllib.error
import urllib.request
from http.client import HTTPException
from time import sleep
from urllib.parse import urlsplit, urlunsplit

from zdiffsync import __version__
from zdiffsync.errors import RemoteError

_TIMEOUT = 10.0  # seconds
_PAUSES = (1.0, 3.0)  # seconds before each further attempt
_MOST = 10_000  # bytes of text, as healthchecks.io keeps at least


def ping(address: str, signal: str = "", text: str = "", *, attempts: int = 1 + len(_PAUSES)) -> None:
    """POST `text` to `address`, or to `signal` below it: '' is success, 'start', 'log', or an exit code.

    Raises RemoteError when no attempt got through.
    """
    parts = urlsplit(address)
    path = parts.path.rstrip("/") + (f"/{signal}" if signal else "")
    request = urllib.request.Request(  # noqa: S310 - the configuration takes http and https only
        urlunsplit(parts._replace(path=path)),
        data=text.encode(errors="replace")[:_MOST],
        headers={"User-Agent": f"zdiffsync/{__version__}", "Content-Type": "text/plain; charset=utf-8"},
    )
    for pause in (*_PAUSES[: attempts - 1], None):
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT):  # noqa: S310 - see above
                return
        except (OSError, HTTPException, ValueError) as error:
            if pause is None:
                raise RemoteError(
                    f"the healthcheck at {parts.hostname} cannot be reached: {_why(error)}"
                ) from None
        sleep(pause)


def _why(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"it answers {error.code}"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return (reason.strerror if isinstance(reason, OSError) else None) or type(reason).__name__
