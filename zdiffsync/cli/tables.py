"""Tables, spans of time and wrapped lines for a terminal. Rule: fits the width, and a name is never cut."""

import textwrap
from collections.abc import Sequence
from datetime import datetime, timedelta

import click

from zdiffsync.model.text import local

Cell = tuple[str, str | None]  # text and colour

_GAP = "  "
_AHEAD = "ahead"
_YEAR_NS = 300 * 86400 * 10**9  # from then on a date needs its year
_UNITS = (
    (2 * 86400, 86400, "d"),
    (2 * 3600, 3600, "h"),
    (120, 60, "min"),
    (0, 1, "s"),
)  # from, seconds, name


def ago(span: timedelta | int) -> str:
    """Return a span of time (an int: ns) as "6 h"; "ahead" for one below zero."""
    seconds = span.total_seconds() if isinstance(span, timedelta) else span / 10**9
    if seconds <= -1:
        return _AHEAD
    return next(
        f"{int(seconds / unit)} {name}" for least, unit, name in _UNITS if seconds >= least or not least
    )


def back(span: timedelta | int) -> str:
    """Return how long ago something was: "6 h ago", "ahead"."""
    text = ago(span)
    return text if text == _AHEAD else f"{text} ago"


def moment(time_ns: int, now_ns: int) -> str:
    """Return a local time in 12 columns, as ls does."""
    if abs(now_ns - time_ns) > _YEAR_NS:
        return local(time_ns)[:10]
    return f"{datetime.fromtimestamp(time_ns // 10**9).astimezone():%b %d %H:%M}"


def table(head: Sequence[str], rows: Sequence[Sequence[Cell] | str], width: int, align: str) -> list[str]:
    """Return rows in columns ('l' or 'r' each); a first cell that makes them too wide gets its own line.

    A row that is a text stands as it is.
    """
    lines: list[Sequence[Cell] | str] = [[(title, None) for title in head], *rows]
    cells = [line for line in lines if not isinstance(line, str)]
    widths = [max(len(line[column][0]) for line in cells) for column in range(len(head))]
    room = width - sum(widths[1:]) - len(_GAP) * (len(head) - 1)
    widths[0] = min(widths[0], max(room, len(head[0])))
    return [
        text for line in lines for text in ([line] if isinstance(line, str) else _row(line, widths, align))
    ]


def _row(cells: Sequence[Cell], widths: Sequence[int], align: str) -> list[str]:
    first, *rest = cells
    alone = [] if len(first[0]) <= widths[0] else [_styled(*first)]
    shown = [("", None) if alone else first, *rest]
    filled = [_padded(*each) for each in zip(shown, widths, align, strict=True)]
    return [*alone, _GAP.join(filled).rstrip()]


def _padded(cell: Cell, width: int, side: str) -> str:
    text, colour = cell
    space = " " * (width - len(text))
    return space + _styled(text, colour) if side == "r" else _styled(text, colour) + space


def _styled(text: str, colour: str | None) -> str:
    return text if colour is None or not text else click.style(text, fg=colour)


def hanging(
    lead: str, text: str, colour: str | None, width: int, *, between: str = ": ", indent: int = 2
) -> list[str]:
    """Return "lead: text" in lines of `width`, all but the first indented; the lead (or all) in colour."""
    whole = f"{lead}{between}{text}" if lead else text
    lines = textwrap.wrap(
        whole, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )
    if not lead:
        return [_styled(line, colour) for line in lines]
    if lines[0].startswith(lead):
        lines[0] = _styled(lead, colour) + lines[0].removeprefix(lead)
    return lines
