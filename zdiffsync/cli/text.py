"""Ids and lists as the commands that look at points show them; model.text has paths, sizes and times.

Rule: what is printed as it comes need not fit in memory.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from zdiffsync.catalog.catalog import Point
from zdiffsync.model.text import local, plural, shown, size

__all__ = ["emit_list", "local", "plural", "short_keys", "shown", "size"]

_SHORTEST = 8  # hex digits of a point's id; enough to tell apart what a person sees at once


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
