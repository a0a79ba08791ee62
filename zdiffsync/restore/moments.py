"""Times as people write them: ISO 8601, or words like "yesterday 18:00" and "2 weeks ago".

Used to name points and to search. Rule: a time that is not understood, or lies ahead, is an error; which
time was understood is for the caller to show.
"""

import re
from datetime import datetime
from time import time

from zdiffsync.errors import UsageError

_CLOCK = re.compile(r"\d{1,2}:\d{2}")
_WORD = re.compile(r"[A-Za-z]{2}")


def moment(text: str, upto_ns: int = 0) -> datetime:
    """Return the local time that `text` means. Raises UsageError when it is none, or lies ahead.

    What is not later than `upto_ns` (ns since 1970) is allowed whatever this machine's clock says.
    """
    found = _iso(text) or _words(text)
    if found is None:
        raise UsageError(
            f"{text!r} is no time; write it like '2026-11-23 18:00', 'yesterday 18:00' or '3 days ago'"
        )
    # In whole microseconds: as a fraction of seconds, a point's own time can come out later than itself.
    if round(found.timestamp() * 1e6) > max(int(time() * 1e6), -(-upto_ns // 1000)):
        raise UsageError(f"{text!r} lies ahead: it is {shown_time(found)}")
    return found


def shown_time(moment: datetime) -> str:
    """Return a time as it is shown: local, to the second."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):  # no date, or one that has no local time
        return None


def _words(text: str) -> datetime | None:
    # Bare numbers would be taken for a day of some month: rather an error than a wrong guess.
    if not _WORD.search(text) and not _CLOCK.fullmatch(text):
        return None
    import dateparser  # noqa: PLC0415 - slow to load, and rarely needed

    try:
        now = datetime.fromtimestamp(time())  # noqa: DTZ006 - local, as what comes back is
        found = dateparser.parse(
            text, languages=["en"], settings={"PREFER_DATES_FROM": "past", "RELATIVE_BASE": now}
        )
        return None if found is None else found.astimezone()
    except (ValueError, OverflowError):
        return None
