"""Paths, sizes, numbers and times in words, for whoever shows them to people.

Used by the command line and the web page. Rule: what a file is called can neither move a terminal's cursor
nor break a line.
"""

import os
import re
from datetime import datetime

import humanize

_UNDECODED = re.compile("[\udc80-\udcff]")


def shown(path: bytes) -> str:
    """Return a path fit for a terminal: control characters and undecodable bytes escaped."""
    text = os.fsdecode(path)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    if _UNDECODED.fullmatch(character):
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def size(count: float) -> str:
    """Return bytes as people write them."""
    return humanize.naturalsize(count, binary=True, format="%.1f").replace("Bytes", "B").replace("Byte", "B")


def plural(count: int, word: str) -> str:
    """Return "1 file", "2 files"."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def local(time_ns: int) -> str:
    """Return a time (ns since 1970) as local time to the second; a year no calendar has as seconds."""
    try:
        return f"{datetime.fromtimestamp(time_ns // 10**9).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return f"@{time_ns // 10**9}"
