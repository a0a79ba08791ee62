"""Durations of the calendar, as restic writes them: 1y5m7d2h.

Used by the rules of `forget`. Rule: a year, a month and a day are the calendar's, in local time; only
hours have a fixed length. config.units has the other kind, of fixed lengths throughout.
"""

import re
import time
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta

_PART = re.compile(r"([0-9]+)([ymdh])")
_SECOND = 10**9  # ns
_BEFORE_ALL = -1  # ns since 1970, where ZFS's count begins: no point is that old


@dataclass(frozen=True, slots=True)
class Duration:
    """Years, months, days and hours; none of them negative. All zero: no duration, false."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    @classmethod
    def parse(cls, text: str) -> "Duration":
        """Read '1y5m7d2h': any of the four parts, in any order. Raises ValueError for anything else."""
        parts = _PART.findall(text)
        given = {unit: int(number) for number, unit in parts}
        if not given or len(given) < len(parts) or _PART.sub("", text):
            raise ValueError(
                f"{text!r} is no duration; write it like '1y5m7d2h', in years, months, days and hours"
            )
        return cls(*(given.get(unit, 0) for unit in "ymdh"))

    def __str__(self) -> str:
        parts = ((getattr(self, field.name), field.name[0]) for field in fields(self))
        return "".join(f"{number}{unit}" for number, unit in parts if number)

    def __bool__(self) -> bool:
        return self != Duration()

    def before(self, moment_ns: int) -> int:
        """Return the moment so long before another one, both in ns since 1970.

        As restic counts, with Go's time.AddDate: the day of the month that a shorter month does not have
        becomes one of the next month, and the time of day stays, whatever the clocks did in between.
        """
        local = datetime.fromtimestamp(moment_ns // _SECOND, tz=UTC).astimezone()
        months = (local.year - self.years) * 12 + local.month - 1 - self.months
        try:
            wall = local.replace(year=months // 12, month=months % 12 + 1, day=1, tzinfo=UTC)
            wall += timedelta(days=local.day - 1 - self.days)
        except (ValueError, OverflowError):  # before the year 1
            return _BEFORE_ALL
        seconds = _local_seconds(int(wall.timestamp()))
        return (seconds - self.hours * 3600) * _SECOND + moment_ns % _SECOND


def _local_seconds(wall: int) -> int:
    """Return seconds since 1970 for a local time of day, given as if it were UTC.

    Where clocks skip or repeat an hour Python and Go choose differently; this is Go's way.
    """
    guess = wall - time.localtime(wall).tm_gmtoff
    return wall - time.localtime(guess).tm_gmtoff
