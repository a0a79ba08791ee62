"""How the backup is doing: of each dataset one word, and what stands behind it.

Made by maintain.status_look and maintain.fleet, shown by `status`, written down as metrics. Rule: what is not
known to be well is not well: a point too old, of the future or missing is never `ok`, whatever is going on.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from zdiffsync.catalog.catalog import Pack, Point
from zdiffsync.external.lock import Holder
from zdiffsync.maintain.run_record import DatasetRecord, RunRecord
from zdiffsync.maintain.run_stage import Bar

State = Literal["ok", "incomplete", "late", "failing", "tripped", "not covered", "never"]

_AHEAD = timedelta(minutes=10)  # clocks differ so much, and time stamps of snapshots have no parts of seconds


@dataclass(frozen=True, slots=True)
class NextBase:
    """When the next base is due (ns since 1970), `by_size` or else by age.

    `filled` is the share of the bytes that increments may have before it.
    """

    due_ns: int
    by_size: bool
    filled: float


@dataclass(frozen=True, slots=True)
class DatasetStatus:
    """One dataset. `why` says what is not well.

    `running`: a run is at it or will come to it; `is_new`: no run need have come to it yet.
    `last` is the newest point, `oldest_ns` when the oldest was made, `packed` the bytes of the packs of all
    points. `snapshot_there`: whether the last point's snapshot still is (None: ZFS could not be asked).
    `interrupted` is the snapshot a broken-off run was at.
    """

    dataset: str
    state: State
    why: str | None = None
    running: bool = False
    is_new: bool = False
    last: Point | None = None
    oldest_ns: int | None = None
    points: int = 0
    packed: int = 0
    next_base: NextBase | None = None
    snapshot_there: bool | None = None
    interrupted: str | None = None
    record: DatasetRecord = field(default_factory=DatasetRecord)

    @property
    def is_well(self) -> bool:
        """Whether nobody need look."""
        return self.state == "ok" or self.is_new


@dataclass(frozen=True, slots=True)
class Former:
    """A dataset that is not backed up any more, of which there are points."""

    dataset: str
    points: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class Checked:
    """How much of the packs checks have read, in bytes of all; when the one longest ago (s since 1970).

    `damaged` counts packs found damaged, of ours and of restic's. `bases` is the share of the bases read.
    """

    read: int
    size: int
    oldest: int | None
    damaged: int
    bases: float


@dataclass(frozen=True, slots=True)
class Status:
    """The backups of this host on one remote.

    `holder` is who works on it now, `bars` what a run is doing. `problems` concern no dataset alone, `notes`
    say what could not be found out.
    """

    host: str
    remote: str
    record: RunRecord
    datasets: Sequence[DatasetStatus]
    former: Sequence[Former]
    packed: int
    checked: Checked
    holder: Holder | None = None
    bars: Sequence[Bar] = ()
    problems: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def is_running(self) -> bool:
        """Whether a run goes on; one that was killed has an error on record."""
        return self.record.is_open and self.record.error is None

    @property
    def at_work(self) -> str:
        """The dataset that a run is at."""
        return ", ".join(each.dataset for each in self.datasets if each.running and each.interrupted)

    @property
    def is_well(self) -> bool:
        """Whether nobody need look."""
        return not self.problems and all(each.is_well for each in self.datasets)


def packed_by_chain(packs: Iterable[Pack]) -> Counter[int]:
    """Return the bytes of the packs of each chain, by the chain's id."""
    sizes: Counter[int] = Counter()
    for pack in packs:
        sizes[pack.chain_id] += pack.size
    return sizes


def packed_of(points: Iterable[Point], packed: Counter[int]) -> int:
    """Return the bytes of the packs of all chains of some points."""
    return sum(packed[chain] for chain in {point.chain_id for point in points})


def age(last: Point, now_ns: int) -> timedelta:
    """Return how long ago a point was made."""
    return timedelta(microseconds=(now_ns - last.created_ns) / 1000)


def by_age(last: Point | None, now_ns: int, stale_after: timedelta) -> tuple[State, str | None]:
    """Judge by the newest point alone."""
    if last is None:
        return "never", "there is no point of it yet"
    old = age(last, now_ns)
    if old < -_AHEAD:
        return "late", "its last point lies in the future, so nobody can tell how old it is; check the clock"
    if old > stale_after:
        return "late", None
    if skipped := last.stats.get("skipped"):
        count = len(skipped)
        what = "1 file is" if count == 1 else f"{count:,} files are"
        return "incomplete", f"{what} not in the last point, the first is {skipped[0][0]}: {skipped[0][1]}"
    return "ok", None
