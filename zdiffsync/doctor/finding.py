"""What a check says: a finding, one line a person reads.

Between the checks and whoever prints. Rule: what is not right comes with what to do about it.
"""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is: a warning leaves something out or will become a failure, a failure makes runs fail."""

    OK = "ok"
    WARNING = "warning"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """`topic` is one word, `what` a phrase or sentence, `fix` a command to copy.

    `repo`: the name of the remote it is about, where there are several.
    """

    topic: str
    level: Level
    what: str
    fix: str | None = None
    repo: str | None = None


def ok(topic: str, what: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(topic, Level.OK, what)


def warning(topic: str, what: str, fix: str | None = None) -> Finding:
    """Return that something deserves a look."""
    return Finding(topic, Level.WARNING, what, fix)


def fail(topic: str, what: str, fix: str | None = None) -> Finding:
    """Return that something keeps backups from being made."""
    return Finding(topic, Level.FAIL, what, fix)
