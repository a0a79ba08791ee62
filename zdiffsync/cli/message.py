"""How a run ended, as a short message to a person.

Rule: host, dataset, what happened, what to do, and how old the last points are; no more than a phone shows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import time_ns

from zdiffsync.backup.report import RunReport
from zdiffsync.catalog.catalog import Point
from zdiffsync.cli.journal import Level, Line
from zdiffsync.cli.tables import back
from zdiffsync.cli.text import local
from zdiffsync.errors import INTERRUPTED, ExitCode
from zdiffsync.external.messages import Mood

_MOST_LINES = 20
_MOST_POINTS = 5
_WIDEST = 300  # characters of a line


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent; `mood` colours it where a service can do so."""

    title: str
    body: str
    mood: Mood


def ending_message(
    place: str, code: int, lines: Sequence[Line], report: RunReport | None, *, recovered: bool
) -> Message:
    """Return what to say of a run that ended with exit code `code`; `lines`: its summary or error."""
    if code == ExitCode.DONE:
        what = "backups work again" if recovered else "backup done"
        return Message(f"zdiffsync on {place}: {what}", _body(text for _level, text in lines), "success")
    wrong = _body(text for level, text in lines if level < Level.INFO)
    return Message(f"zdiffsync on {place}: {_wrong(code, report)}", wrong, _mood(code, report))


def _wrong(code: int, report: RunReport | None) -> str:
    if report is not None and report.tripped:
        names = ", ".join(stopped.dataset for stopped in report.tripped)
        return f"NOT BACKED UP, waits for your word: {names}"
    if report is not None and report.failed:
        return f"backup failed: {', '.join(name for name, *_ in report.failed)}"
    if code == ExitCode.INCOMPLETE:
        return "backup incomplete"
    return "backup interrupted" if code == INTERRUPTED else "backup failed"


def _mood(code: int, report: RunReport | None) -> Mood:
    incomplete = code == ExitCode.INCOMPLETE and not (report and report.tripped)
    return "warning" if incomplete or code == INTERRUPTED else "failure"


def concerns(report: RunReport | None) -> tuple[str, ...]:
    """Return what is wrong in words that are the same every night it is wrong."""
    if report is None:
        return ()
    return tuple(
        sorted(
            {f"failed {name}" for name, *_ in report.failed}
            | {f"tripped {stopped.dataset}" for stopped in report.tripped}
            | {f"not covered {name}" for name, _ in report.not_covered}
            | {f"skipped {point.dataset}:{path}" for point in report.points for path, _ in point.skipped}
        )
    )


def neglected(last: Iterable[Point]) -> list[str]:
    """Return a line for each of the oldest of some datasets' last points."""
    now_ns, oldest = time_ns(), sorted(last, key=lambda point: point.created_ns)
    return [
        f"last point of {point.dataset}: {local(point.created_ns)} ({back(now_ns - point.created_ns)})"
        for point in oldest[:_MOST_POINTS]
    ]


def _body(lines: Iterable[str]) -> str:
    each = [line if len(line) <= _WIDEST else f"{line[:_WIDEST]}…" for line in lines]
    more = [f"… and {len(each) - _MOST_LINES} lines more"] if len(each) > _MOST_LINES else []
    return "\n".join(each[:_MOST_LINES] + more)
