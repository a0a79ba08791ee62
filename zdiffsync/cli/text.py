"""Paths, times and lists as the commands that look at points show them.

Rule: what a file is called can neither move a terminal's cursor nor break a line.
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import humanize

from zdiffsync.catalog.catalog import Point

_SHORTEST = 8  # hex digits of a point's id; enough to tell apart what a person sees at once
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


def short_keys(points: Sequence[Point]) -> dict[str, str]:
    """Return for each point's id the shortest prefix that names it among all points (8 digits at least)."""
    length = _SHORTEST
    while len({point.key[:length] for point in points}) < len(points):
        length += 1
    return {point.key: point.key[:length] for point in points}


def emit_list(key: str, items: Iterable[dict[str, Any]]) -> None:
    """Print one JSON object with a list, an item a line, as the items come: they need not fit in memory."""
    out = sys.stdout
    out.write(f'{{"{key}": [')
    between = "\n"
    for item in items:
        out.write(between + json.dumps(item))
        between = ",\n"
    out.write("\n]}\n")
