"""Which restore points `forget` keeps: restic's rules, and two of our own.

The first step of `forget`; what follows from it for manifests and packs is not known here.
Rule: the same rules and times keep the same points as `restic forget` (its documentation, "Removing
snapshots according to a policy"), apart from pinned points and the newest one, which always stay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

from zdiffsync.maintain.duration import Duration

UNLIMITED = -1
_PERIODS = ("hourly", "daily", "weekly", "monthly", "yearly")


class Candidate(Protocol):
    """What the rules look at in a point: when its snapshot was made, its tags, whether it is pinned."""

    @property
    def created_ns(self) -> int:
        """Nanoseconds since 1970."""

    @property
    def tags(self) -> Sequence[str]:
        """The tags it was given."""

    @property
    def keep(self) -> bool:
        """Whether it is pinned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepRules:
    """What to keep. A point stays when any rule wants it.

    Counts (UNLIMITED: all) keep the newest point of so many hours, days, … that have one; durations are
    counted back from the newest point; of `tags`, a point must have all of one list. None and 0: no rule.
    """

    last: int | None = None
    hourly: int | None = None
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None
    yearly: int | None = None
    within: Duration | None = None
    within_hourly: Duration | None = None
    within_daily: Duration | None = None
    within_weekly: Duration | None = None
    within_monthly: Duration | None = None
    within_yearly: Duration | None = None
    tags: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "KeepRules":
        """Read rules as people write them, by their names here: 7, 'unlimited', '1y5m', ['a', 'b,c'].

        None stands for a rule not given. Raises ValueError naming the rule.
        """
        read: dict[str, Any] = {}
        for name, value in values.items():
            try:
                if name == "tags":
                    read[name] = tuple(_tag_list(text) for text in value)
                elif value is not None:
                    read[name] = Duration.parse(value) if name.startswith("within") else _count(value)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        return cls(**read)

    @property
    def empty(self) -> bool:
        """Whether there is no rule at all: then nothing is to be forgotten."""
        return not any(getattr(self, field.name) for field in fields(self))


PointT = TypeVar("PointT", bound=Candidate)


@dataclass(frozen=True, slots=True)
class Decision(Generic[PointT]):
    """One point and why it stays; without a reason it is to be forgotten."""

    point: PointT
    reasons: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether it stays."""
        return bool(self.reasons)


def decide(points: Sequence[PointT], rules: KeepRules, *, now_ns: int) -> list[Decision[PointT]]:
    """Return a decision for each point of ONE dataset, in the order given: as they were made, oldest first.

    Empty rules keep every point. `now_ns`: ns since 1970; see `wanted`.
    """
    by_rule = [["no rules"]] * len(points) if rules.empty else wanted(points, rules, now_ns=now_ns)
    decisions = []
    for number, (point, reasons) in enumerate(zip(points, by_rule, strict=True), start=1):
        pinned = ["pinned"] if point.keep else []
        newest = ["newest"] if number == len(points) else []  # the next increment builds on it
        decisions.append(Decision(point, (*pinned, *newest, *reasons)))
    return decisions


def wanted(points: Sequence[Candidate], rules: KeepRules, *, now_ns: int) -> list[list[str]]:
    """Return which rules want each point, in the order given, by restic's rules alone.

    Of points of the same moment the one given last counts as newer. Hours, days, … are those of local
    time, weeks those of ISO 8601. Durations count back from the newest point made before `now_ns`: one
    made while the clock was wrong must not cost all others their place. A rule of hours, days, … that
    is not used up also takes the oldest point.
    """
    order = sorted(range(len(points)), key=lambda at: (points[at].created_ns, at), reverse=True)
    past = [point.created_ns for point in points if point.created_ns < now_ns]
    buckets = _buckets(rules, max(past, default=None))
    reasons: list[list[str]] = [[] for _ in points]
    for rank, at in enumerate(order):
        point = points[at]
        slots = _slots(rank, point.created_ns)
        oldest = rank == len(order) - 1
        reasons[at] = [f"has tags [{', '.join(tags)}]" for tags in rules.tags if _has(point, tags)]
        taken = (bucket.take(slots[bucket.period], point.created_ns, oldest=oldest) for bucket in buckets)
        reasons[at] += [reason for reason in taken if reason]
    return reasons


@dataclass(slots=True)
class _Bucket:
    """One rule at work: the first point of each hour, day, …, while some are left to be taken."""

    period: str
    reason: str
    left: int = UNLIMITED
    after_ns: int | None = None
    last: tuple[int, ...] = ()

    def take(self, slot: tuple[int, ...], created_ns: int, *, oldest: bool) -> str | None:
        """Return the reason when this rule wants the next older point."""
        repeated = slot == self.last
        too_old = self.after_ns is not None and created_ns <= self.after_ns
        if not self.left or too_old or (repeated and not oldest):
            return None
        self.last = slot
        self.left -= 1  # from UNLIMITED on it never comes to 0
        return f"oldest {self.reason}" if repeated else self.reason


def _buckets(rules: KeepRules, newest_ns: int | None) -> list[_Bucket]:
    """Return the rules at work, in the order restic names its reasons in."""
    rows: list[tuple[str, str, int | None, Duration | None]] = [
        ("last", "within", None, rules.within),
        *((period, f"{period} point", getattr(rules, period), None) for period in ("last", *_PERIODS)),
        *((period, f"{period} within", None, getattr(rules, f"within_{period}")) for period in _PERIODS),
    ]
    return [
        _Bucket(period, f"{words} {span}", after_ns=None if newest_ns is None else span.before(newest_ns))
        if span
        else _Bucket(period, words, left=count or 0)
        for period, words, count, span in rows
    ]


def _slots(rank: int, created_ns: int) -> dict[str, tuple[int, ...]]:
    """Return the hour, day, … a point lies in; for "last" every point lies in one of its own."""
    local = datetime.fromtimestamp(created_ns // 10**9, tz=UTC).astimezone()
    date = local.timetuple()
    return {
        "last": (rank,), "hourly": date[:4], "daily": date[:3], "weekly": local.isocalendar()[:2],
        "monthly": date[:2], "yearly": date[:1],
    }  # fmt: skip


def _has(point: Candidate, tags: tuple[str, ...]) -> bool:
    """Return whether it has all these tags; the empty tag is that of a point without any."""
    mine = set(point.tags) or {""}
    return mine.issuperset(tags)


def _count(value: str | int) -> int:
    if value == "unlimited":
        return UNLIMITED
    if str(value).isdecimal():
        return int(value)
    raise ValueError(f"{value!r} is no count; write a number or 'unlimited'")


def _tag_list(text: str) -> tuple[str, ...]:
    tags = tuple(tag.strip() for tag in text.split(","))
    if "" in tags and len(tags) > 1:
        raise ValueError(f"{text!r} has an empty tag among others; write tags like 'a,b', or '' for no tags")
    return tags
