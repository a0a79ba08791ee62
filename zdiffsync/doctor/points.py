"""What there is of backups: the last point of each dataset, its snapshot, left-over snapshots, the tripwire.

Rule: looks into the catalog and at ZFS only; a missing catalog is not made.
"""

import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import humanize

from zdiffsync.backup.snapshots import hold_tag
from zdiffsync.backup.tripped import Tripped
from zdiffsync.catalog.catalog import Catalog, Point
from zdiffsync.config.config import Config
from zdiffsync.config.opening import catalog_path, open_catalog
from zdiffsync.doctor.finding import Finding, fail, ok, warning
from zdiffsync.errors import ToolError
from zdiffsync.external import zfs
from zdiffsync.maintain.run_record import load_record
from zdiffsync.model.text import local, plural
from zdiffsync.store.repository import remembered

_STALE = timedelta(hours=48)


def check(config: Config, known: frozenset[str]) -> Iterator[Finding]:
    """Yield what is found of points and of what stays of old ones; `known`: ids of all repositories."""
    for name, trip in sorted(Tripped(config.state).all().items()):
        what = f"{name} is not backed up since {trip.since}: {trip.found}"
        yield fail("tripwire", what, f"zdiffsync run --accept-changes {shlex.quote(trip.accept)}")
    yield from _runs(config)
    if not config.dataset:
        return
    if not catalog_path(config).exists():
        yield warning("points", "there is no catalog yet", "zdiffsync run   # or zdiffsync rebuild")
        return
    with open_catalog(config) as catalog:
        yield from _points(config, catalog, known)


def _runs(config: Config) -> Iterator[Finding]:
    record = load_record(config.state)
    if record.error is not None:
        yield fail(
            "run", f"the last run, of {_local(record.started)}, failed: {record.error}", "zdiffsync run"
        )
    elif record.failures:
        what = (
            f"the last {plural(record.failures, 'run')} ended with failures, now exit code {record.exit_code}"
        )
        yield fail("run", what, "zdiffsync run")
    for name, dataset in sorted(record.datasets.items()):
        if dataset.failures and dataset.last is not None and dataset.failing_since is not None:
            since = _local(dataset.failing_since)
            yield fail("run", f"{name} fails since {since}: {dataset.last.message}", "zdiffsync run")


def _points(config: Config, catalog: Catalog, known: frozenset[str]) -> Iterator[Finding]:
    own = remembered(config.state / "repository")
    for item in config.dataset:
        try:
            found = zfs.datasets(item.name, recursive=item.recursive)
        except ToolError:
            continue  # said by doctor.datasets
        for dataset in found:
            if dataset.uncovered_reason is None:
                points = catalog.points_of(dataset.guid, config.host)
                yield _last(dataset.name, points)
                unfinished = catalog.journal.unfinished(dataset.name)
                last = points[-1] if points else None
                needed = {each.guid for each in (last, unfinished) if each is not None}
                if last is not None and zfs.find_snapshot(dataset.name, last.guid) is None:
                    what = f"{last.snapshot} of the last point is gone: the next run makes a base"
                    yield warning("snapshots", what)
                yield from _snapshots(zfs.snapshots(dataset.name), needed, own, known - {own})


def _local(seconds: int) -> str:
    return local(seconds * 10**9)


def _last(dataset: str, points: list[Point]) -> Finding:
    if not points:
        return warning("points", f"{dataset} has no point yet", f"zdiffsync run {shlex.quote(dataset)}")
    created = datetime.fromtimestamp(points[-1].created_ns / 1e9, UTC)
    age = datetime.now(UTC) - created
    what = f"{dataset}: the last of {plural(len(points), 'point')} is of {local(points[-1].created_ns)}"
    if age > _STALE:
        return fail("points", f"{what}, {humanize.naturaldelta(age)} ago", "zdiffsync run")
    if age < -timedelta(minutes=5):
        return fail("points", f"{what}, which lies ahead: the clock was or is wrong", "date")
    return ok("points", what)


def _snapshots(
    there: Sequence[zfs.Snapshot],
    needed: set[int],
    own: str | None,
    others: frozenset[str | None],
) -> Iterator[Finding]:
    for each in there:
        if not each.owner or each.guid in needed or each.owner in others:
            continue
        name = shlex.quote(each.name)
        fix = f"zfs release {hold_tag(each.owner)} {name}; zfs destroy {name}"
        if each.owner == own:
            yield warning("snapshots", f"{each.name} is left over; the next run tries to destroy it", fix)
        else:
            what = f"{each.name} was made for another repository ({each.owner[:8]}); if that is given up"
            yield warning("snapshots", what, fix)
