"""Points in time as the pages show them. Rule: local time, and never an error however odd the time."""

from datetime import UTC, date, datetime
from time import time

import humanize

from zdiffsync.model.text import local

_SOON = 45  # seconds


def day_of(time_ns: int) -> date:
    """Return the local day of a time (ns since 1970)."""
    return datetime.fromtimestamp(time_ns // 10**9, tz=UTC).astimezone().date()


def minute(time_ns: int) -> str:
    """Return local time to the minute: 2026-11-23 02:00."""
    text = local(time_ns)
    return text if text.startswith("@") else text[:-3]


def day(moment: date) -> str:
    """Return a day: Mon 23 Nov 2026."""
    return f"{moment:%a} {moment.day} {moment:%b %Y}"


def until(time_ns: int) -> str:
    """Return how long it is to a time: 18 days; '' when it is past."""
    seconds = time_ns / 1e9 - time()
    return humanize.naturaldelta(seconds) if seconds > 0 else ""


def age(time_ns: int) -> str:
    """Return how long ago a time was: 5 hours ago."""
    seconds = time() - time_ns / 1e9
    if abs(seconds) < _SOON:
        return "just now"
    return humanize.naturaltime(seconds)
