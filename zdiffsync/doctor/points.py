"""What there is of backups, as `status` judges it: points, runs, the tripwire; and left-over snapshots.

Rule: looks into the state directory and at ZFS only; a missing catalog is not made.
"""

import shlex
from collections.abc import Iterator
from time import time_ns

from zdiffsync.backup.snapshots import hold_tag
from zdiffsync.backup.tripped import Tripped
from zdiffsync.config.config import Config
from zdiffsync.config.looking import look_of
from zdiffsync.config.opening import catalog_path, open_catalog
from zdiffsync.doctor.finding import Finding, fail, ok, warning
from zdiffsync.errors import ToolError
from zdiffsync.external import zfs
from zdiffsync.maintain.status import DatasetStatus
from zdiffsync.maintain.status_look import look_at
from zdiffsync.model.text import local, plural
from zdiffsync.store.repository import remembered

_RUN = "zdiffsync run"


def check(config: Config, known: frozenset[str]) -> Iterator[Finding]:
    """Yield what is found of points and of what stays of old ones; `known`: ids of all repositories."""
    for name, trip in sorted(Tripped(config.state).all().items()):
        what = f"{name} is not backed up since {trip.since}: {trip.found}"
        yield fail("tripwire", what, f"{_RUN} --accept-changes {shlex.quote(trip.accept)}")
    if not config.dataset:
        return
    if not catalog_path(config).exists():
        yield warning("points", "there is no catalog yet", f"{_RUN}   # or zdiffsync rebuild")
        return
    with open_catalog(config) as catalog:
        status = look_at(look_of(config), catalog, time_ns())
        for problem in status.problems:
            yield fail("run", problem, "zdiffsync status")
        needed: set[int] = set()
        for each in status.datasets:
            yield from _judged(each)
            unfinished = catalog.journal.unfinished(each.dataset)
            needed |= {found.guid for found in (each.last, unfinished) if found is not None}
        others = known - {remembered(config.state / "repository")}
        for each in status.datasets:
            yield from _left_over(each.dataset, needed, others)


def _judged(each: DatasetStatus) -> Iterator[Finding]:
    name, last = each.dataset, each.last
    if each.state not in {"not covered", "tripped"}:  # said by doctor.datasets, and above
        yield _word(each)
    if each.snapshot_there is False and last is not None:
        yield warning("points", f"{last.snapshot} of the last point is gone: the next run makes a base")
    if each.interrupted is not None and not each.running:
        yield warning("run", f"{name}: a run broke off at {each.interrupted}; the next one finishes it", _RUN)


def _word(each: DatasetStatus) -> Finding:
    what = f"{each.dataset}: {each.state}"
    if each.last is not None:
        what += f", the last of {plural(each.points, 'point')} is of {local(each.last.created_ns)}"
    if each.is_well:
        return ok("points", what)
    if each.why is not None:
        what += f"; {each.why}"
    if each.state in {"incomplete", "never"}:
        return warning("points", what, _RUN)
    return fail("points", what, _RUN)


def _left_over(dataset: str, needed: set[int], others: frozenset[str]) -> Iterator[Finding]:
    """Yield the snapshots that carry our mark and are of no use: of no repository that is configured, too."""
    try:
        there = zfs.snapshots(dataset)
    except ToolError:
        return  # said by doctor.datasets
    for each in there:
        if each.owner and each.guid not in needed and each.owner not in others:
            name = shlex.quote(each.name)
            fix = f"zfs release {hold_tag(each.owner)} {name}; zfs destroy {name}"
            what = f"{each.name}, made for repository {each.owner[:8]}, is left over"
            yield warning("snapshots", what, fix)
