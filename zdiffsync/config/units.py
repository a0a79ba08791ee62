"""Sizes and durations as people write them in the configuration file.

Rule: a number without a unit is bytes, or seconds.
"""

import re
from datetime import timedelta
from fractions import Fraction

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgtp]?)(i?)b?", re.IGNORECASE)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|min|h|d|w)", re.IGNORECASE)
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_size(text: str | int) -> int:
    """Return bytes: '64MiB', '64M' (both binary, as rclone and restic read them), 4096.

    Raises ValueError for anything else.
    """
    if isinstance(text, int):
        return text
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size; write it like '64MiB'")
    return int(Fraction(match[1]) * 1024 ** " kmgtp".index(match[2].lower() or " "))


def parse_duration(text: str | int) -> timedelta:
    """Return a duration: '30d', '12h', 3600. Raises ValueError for anything else."""
    try:
        return timedelta(seconds=float(text) if isinstance(text, int) else _seconds(text))
    except OverflowError as error:
        raise ValueError(f"{text!r} is too long a duration; write it like '30d' or '12h'") from error


def duration_key(table: object, key: str) -> timedelta:
    """Return what a key of a configuration table says. ValueError names the key."""
    try:
        return parse_duration(getattr(table, key))
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error


def _seconds(text: str) -> float:
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no duration; write it like '30d' or '12h'")
    return float(match[1]) * _SECONDS[match[2].lower()]
