"""Words for the journal: what goes wrong gets its priority there, so that `journalctl -p` finds it.

Rule: a priority stands before a line only where the stream is the journal's (sd-daemon(3), JOURNAL_STREAM).
"""

import io
import os
from collections.abc import Iterable
from enum import IntEnum
from typing import TextIO


class Level(IntEnum):
    """syslog's priorities, as far as they are used here."""

    ERROR = 3
    WARNING = 4
    INFO = 6


Line = tuple[Level, str]


def worded(lines: Iterable[Line], stream: TextIO) -> str:
    """Return lines as one text for `stream`."""
    marked = _is_journal(stream)
    return "\n".join(
        f"<{level:d}>{part}" if marked else part for level, text in lines for part in text.split("\n")
    )


def _is_journal(stream: TextIO) -> bool:
    journal = os.environ.get("JOURNAL_STREAM")
    if not journal:
        return False
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError, io.UnsupportedOperation):
        return False
    return journal == f"{found.st_dev}:{found.st_ino}"
