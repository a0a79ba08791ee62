"""Finding out how the backups of this host are doing: from the catalog, the run record, ZFS and the lock.

Behind `status` and the metrics. Rule: never asks the remote, changes nothing, and goes on without ZFS.
"""

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from zdiffsync.backup.choice import increments_limit
from zdiffsync.backup.snapshots import last_points
from zdiffsync.backup.tripped import Trip, Tripped
from zdiffsync.catalog.catalog import Catalog, Pack, Point
from zdiffsync.errors import CatalogError, NoSuchDatasetError, ZdiffsyncError, named
from zdiffsync.external import zfs
from zdiffsync.external.lock import lock_holder
from zdiffsync.maintain.memory import CheckMemory
from zdiffsync.maintain.run_record import (
    FINE,
    Attempt,
    DatasetRecord,
    Planned,
    RunRecord,
    killed,
    load_record,
)
from zdiffsync.maintain.run_stage import load_stage
from zdiffsync.maintain.status import (
    Checked,
    DatasetStatus,
    Former,
    NextBase,
    State,
    Status,
    by_age,
    packed_by_chain,
    packed_of,
)
from zdiffsync.model.text import local, plural

_Value = TypeVar("_Value")
_ENOUGH = 3  # increments from which on their growth says something


@dataclass(frozen=True, slots=True)
class Look:
    """What to look at, and by what to judge it.

    `remote` is how people call the remote, `repository` its id (None: never opened from here), `state` the
    state directory; `base_every`, `share` and `pack_size` decide when a new base is made.
    """

    host: str
    remote: str
    repository: str | None
    state: Path
    planned: Sequence[Planned]
    stale_after: timedelta
    base_every: timedelta
    share: float
    pack_size: int


def look_at(look: Look, catalog: Catalog, now_ns: int, *, ask_zfs: bool = True) -> Status:
    """Return how all is at `now_ns`. Raises CatalogError for the catalog only."""
    problems: list[str] = []
    notes: list[str] = []

    def known(load: Callable[[], _Value], otherwise: _Value) -> _Value:
        try:
            return load()
        except CatalogError as error:
            problems.append(str(error))
            return otherwise

    tripped: dict[str, Trip] = known(Tripped(look.state).all, {})
    record = known(lambda: load_record(look.state), RunRecord())
    holder = lock_holder(look.state / "lock")
    running = record.is_open and holder is not None and holder.pid == record.pid
    if record.is_open and not running:
        record = killed(record)
    seen = _ask_zfs(look.planned) if ask_zfs else _Seen()
    if seen.problem is not None:
        notes.append(f"this is what was known last, since ZFS does not answer: {seen.problem}")
    packs = catalog.packs()
    memory = None if look.repository is None else CheckMemory(look.state, look.repository)
    looking = _Looking(look, catalog, now_ns, record, tripped, seen, packs, running=running)
    datasets = looking.datasets()
    checked = _checked(memory, packs)
    problems += _problems(look, record, datasets, checked, running=running)
    return Status(
        look.host, look.remote, record, datasets, looking.former(datasets), sum(pack.size for pack in packs),
        checked, holder, load_stage(look.state, record.pid) if running else (), problems, notes,
    )  # fmt: skip


@dataclass(slots=True)
class _Seen:
    """What ZFS says: the datasets there are, what is planned and is not there, or why it does not answer."""

    datasets: dict[str, zfs.Dataset] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    problem: str | None = None


def _ask_zfs(planned: Iterable[Planned]) -> _Seen:
    seen = _Seen()
    for plan in planned:
        try:
            found = zfs.datasets(plan.name, recursive=plan.recursive)
            seen.datasets |= {dataset.name: dataset for dataset in found}
        except NoSuchDatasetError as error:
            seen.missing[plan.name] = str(error)
        except ZdiffsyncError as error:
            return _Seen(problem=str(error))
    return seen


class _Looking:
    """Puts together what is known of each dataset."""

    def __init__(
        self,
        look: Look,
        catalog: Catalog,
        now_ns: int,
        record: RunRecord,
        tripped: dict[str, Trip],
        seen: _Seen,
        packs: Sequence[Pack],
        *,
        running: bool,
    ) -> None:
        self._look, self._catalog, self._now_ns = look, catalog, now_ns
        self._record, self._tripped, self._seen, self._running = record, tripped, seen, running
        self._points = [point for point in catalog.points() if point.host == look.host]
        self._packed = packed_by_chain(packs)

    def datasets(self) -> list[DatasetStatus]:
        """Return all that is to be backed up."""
        return [self._dataset(name) for name in sorted(self._names())]

    def former(self, datasets: Iterable[DatasetStatus]) -> list[Former]:
        """Return those whose points nothing is added to any more."""
        current = {each.last.dataset_guid for each in datasets if each.last is not None}
        groups: dict[int, list[Point]] = {}
        for point in self._points:
            groups.setdefault(point.dataset_guid, []).append(point)
        return [
            Former(group[-1].dataset, len(group), group[-1].created_ns)
            for guid, group in groups.items()
            if guid not in current
        ]

    def _names(self) -> set[str]:
        """Return the names of the datasets; without ZFS those that runs came upon, or that have points."""
        if self._seen.datasets or self._seen.missing:
            return {*self._seen.datasets, *self._seen.missing}
        names: set[str] = set()
        for plan in self._look.planned:
            recorded = {name for name in self._record.datasets if plan.includes(name)}
            pointed = {point.dataset for point in self._points if plan.includes(point.dataset)}
            names |= recorded or pointed or {plan.name}
        return names

    def _points_of(self, name: str, record: DatasetRecord) -> list[Point]:
        """Return the points of a dataset, also from when it had another name."""
        if (live := self._seen.datasets.get(name)) is not None:
            guid = live.guid
        else:
            made = {attempt.point for attempt in record.attempts}
            named = [p for p in self._points if p.key in made] or [
                p for p in self._points if p.dataset == name
            ]
            guid = named[-1].dataset_guid if named else 0
        return [point for point in self._points if point.dataset_guid == guid]

    def _dataset(self, name: str) -> DatasetStatus:
        record = self._record.datasets.get(name, DatasetRecord())
        points = self._points_of(name, record)
        last = next(iter(last_points(points).values()), None)
        state, why = self._judge(name, record, last)
        unfinished = self._catalog.journal.unfinished(name)
        return DatasetStatus(
            name, state, why,
            running=state != "not covered" and self._is_in_work(name, record),
            is_new=state == "never" and self._is_new(name),
            last=last,
            oldest_ns=points[0].created_ns if points else None,
            points=len(points),
            packed=packed_of(points, self._packed),
            next_base=None if last is None else self._next_base(last, points),
            snapshot_there=None if last is None else self._snapshot_there(name, last),
            interrupted=None if unfinished is None else unfinished.snapshot,
            record=record,
        )  # fmt: skip

    def _judge(self, name: str, record: DatasetRecord, last: Point | None) -> tuple[State, str | None]:
        tried = record.last
        if name in self._seen.missing:
            return "failing", self._seen.missing[name]
        if (live := self._seen.datasets.get(name)) is not None:
            uncovered = live.uncovered_reason
        else:
            uncovered = tried.message if tried is not None and tried.outcome == "not_covered" else None
        if uncovered is not None:
            return "not covered", uncovered
        if (trip := self._tripped.get(name)) is not None:
            accept = f"zdiffsync run --accept-changes {shlex.quote(trip.accept)}"
            return "tripped", f"{trip.found}; nothing is removed meanwhile. If this is right: {accept}"
        if record.failures:
            failed = next(each for each in reversed(record.attempts) if each.outcome == "failed")
            return "failing", failed.message
        state, why = by_age(last, self._now_ns, self._look.stale_after)
        if state == "late" and why is None:
            return state, _why_late(tried)
        return state, why

    def _is_in_work(self, name: str, record: DatasetRecord) -> bool:
        planned = self._running and any(plan.includes(name) for plan in self._record.planned)
        return planned and (record.last is None or record.last.at != self._record.started)

    def _is_new(self, name: str) -> bool:
        if name not in self._seen.datasets:
            return False
        try:
            created = int(zfs.read_property(name, "creation") or 0)
        except (ZdiffsyncError, ValueError):
            return False
        return self._now_ns / 10**9 - created < self._look.stale_after.total_seconds()

    def _next_base(self, last: Point, points: Sequence[Point]) -> NextBase:
        look = self._look
        by_age_ns = last.base_ns + int(look.base_every.total_seconds()) * 10**9
        chain = [point for point in points if point.chain == last.chain]
        first = min(chain, key=lambda point: point.sequence)
        limit = increments_limit(first, look.share, look.pack_size)
        packed = self._packed[last.chain_id]
        by_size_ns = by_age_ns
        if packed > limit:
            by_size_ns = self._now_ns
        elif packed and last.sequence >= _ENOUGH:
            by_size_ns = last.base_ns + int((last.created_ns - last.base_ns) * (limit / packed))
        return NextBase(min(by_age_ns, by_size_ns), by_size_ns < by_age_ns, packed / limit)

    def _snapshot_there(self, name: str, last: Point) -> bool | None:
        if name not in self._seen.datasets:
            return None
        try:
            return zfs.find_snapshot(name, last.guid) is not None
        except ZdiffsyncError:
            return None


def _why_late(tried: Attempt | None) -> str:
    if tried is None:
        return "no run is on record"
    when = local(tried.at * 10**9)
    if tried.outcome == "nothing_new":
        return f"the run of {when} found no newer snapshot; see whether the tool that takes them still does"
    return f"no run has tried since {when}"


def _problems(
    look: Look, record: RunRecord, datasets: Sequence[DatasetStatus], checked: Checked, *, running: bool
) -> list[str]:
    problems = []
    if not look.planned:
        problems.append("no dataset is configured; add a [[dataset]] table to the configuration file")
    if record.error is not None and not running:
        problems.append(f"the last run broke off: {record.error}")
    elif record.exit_code not in (None, *FINE) and not any(each.state == "failing" for each in datasets):
        problems.append(f"the last run ended with code {named(record.exit_code)}; see what it printed")
    if record.left_over:
        count = plural(len(record.left_over), "snapshot")
        problems.append(f"{count} of ours could not be destroyed: {', '.join(record.left_over)}")
    if checked.damaged:
        problems.append(f"check found {plural(checked.damaged, 'damaged pack')}; run zdiffsync repair")
    return problems


def _checked(memory: CheckMemory | None, packs: Sequence[Pack]) -> Checked:
    size = sum(pack.size for pack in packs)
    if memory is None:
        return Checked(0, size, None, 0, 0.0)
    read = [(memory.last_read(pack.key), pack.size) for pack in packs if memory.last_read(pack.key)]
    damaged = len(memory.damaged) + len(memory.base_packs)
    oldest = min((when for when, _ in read), default=None)
    return Checked(sum(each for _, each in read), size, oldest, damaged, memory.bases_upto)
