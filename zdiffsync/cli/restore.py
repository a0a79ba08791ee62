"""`zdiffsync restore`: files, directories or a whole point back onto a disk."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic

import click

from zdiffsync.catalog.catalog import Point
from zdiffsync.cli import complete
from zdiffsync.cli.context import App, pass_app
from zdiffsync.cli.location import as_of_option, located
from zdiffsync.cli.opening import Reading, make_restic
from zdiffsync.cli.restore_summary import (
    plan_summary,
    plan_values,
    report_summary,
    report_values,
    result_code,
)
from zdiffsync.cli.text import shown
from zdiffsync.errors import ExitCode, UsageError
from zdiffsync.external import zfs
from zdiffsync.restore import new_dataset
from zdiffsync.restore.local import LocalSnapshots
from zdiffsync.restore.locate import Location, as_of, locate, normalize
from zdiffsync.restore.overwrite import Overwrite
from zdiffsync.restore.plan import Item, Plan, Request
from zdiffsync.restore.rate import DownloadRate
from zdiffsync.restore.report import RestoreReport
from zdiffsync.restore.restore import Restorer


@click.command()
@click.argument(
    "locations", metavar="POINT[:PATH] [PATH]...", nargs=-1, required=True,
    shell_complete=complete.locations_then_paths,
)  # fmt: skip
@click.option("--to", type=click.Path(path_type=Path), help="Directory to restore into.")
@click.option("--to-dataset", metavar="DATASET", help="New dataset to restore a whole point into.")
@click.option("--in-place", is_flag=True, help="Restore to where it came from.")
@click.option(
    "--overwrite",
    type=click.Choice([choice.value for choice in Overwrite]),
    help="What to do with files that are already there (default: never; in place: changed).",
)
@as_of_option
@click.option(
    "--plan", "--dry-run", "plan_only", is_flag=True, help="Tell what would be done; write nothing."
)
@click.option("--no-local", is_flag=True, help="Take nothing from local snapshots.")
@pass_app
def restore(
    app: App,
    locations: tuple[str, ...],
    *,
    to: Path | None,
    to_dataset: str | None,
    in_place: bool,
    overwrite: str | None,
    when: str | None,
    plan_only: bool,
    no_local: bool,
) -> int:
    """Restore whole points, directories or files.

    With --to DIR a path becomes DIR/NAME; a whole point fills DIR. Further PATHs are of the first point. With
    --as-of name DATASET:PATH, or only PATH where there is one dataset.
    """
    if (to is not None) + (to_dataset is not None) + in_place != 1:
        raise UsageError("say where to restore: --to DIR, --to-dataset DATASET, or --in-place")
    with app.reading(planned=True) as reading:
        places = _locate(app, reading.catalog.points(), locations, when)
        policy = Overwrite(overwrite or ("changed" if in_place else "never"))
        if to_dataset is not None:
            requests = [_into_dataset(places, to_dataset, policy)]
        else:
            requests = _requests(places, to, policy)
        with LocalSnapshots(reading.catalog, keep_open=True) as local:
            restorer = Restorer(
                reading.catalog, reading.bases, reading.store.data, reading.fetch,
                lambda: make_restic(reading.config, reading.store.opened),
                None if no_local else local, lambda: reading.store.received, app.progress,
                reading.config.transfers,
            )  # fmt: skip
            plans = [restorer.plan(request) for request in requests]
            rate = DownloadRate.read(reading.config.state)
            if plan_only:
                app.emit(plan_values(plans, rate))
                app.show(plan_summary(plans, rate))
                return ExitCode.DONE
            app.say(plan_summary(plans, rate, short=True))
            reports = _carry_out(restorer, plans, reading, rate, to_dataset)
    return _tell(app, plans, reports)


def _locate(app: App, points: Sequence[Point], texts: Sequence[str], when: str | None) -> list[Location]:
    """Find the first POINT[:PATH], and what follows: a location of its own, or a PATH of the first point."""
    first = located(app, points, texts[0], when)
    return [first, *(_further(points, text, when, first.point) for text in texts[1:])]


def _further(points: Sequence[Point], text: str, when: str | None, point: Point) -> Location:
    if ":" in text:  # it may as well be part of a path
        with suppress(UsageError):
            return locate(points, text)
        if when is not None:
            return as_of(points, text, when)
    return Location(point, normalize(text))


def _requests(places: Sequence[Location], to: Path | None, overwrite: Overwrite) -> list[Request]:
    """Return one request a point, in the order of the points' first mention."""
    items: dict[str, list[Item]] = {}
    points: dict[str, Point] = {}
    names: set[bytes] = set()
    for place in places:
        head, _, name = place.path.rpartition(b"/")
        if to is not None and (name in names or (not name and len(places) > 1)):
            what = shown(name) if name else "the whole of several points"
            raise UsageError(f"{what} would come into {to} twice; restore them one after the other")
        names.add(name)
        points[place.point.key] = place.point
        folder = b"" if to is not None else head
        items.setdefault(place.point.key, []).append(Item(place.path, folder, name or None))
    return [
        Request(
            point,
            Path(os.fsdecode(zfs.mountpoint(point.dataset))) if to is None else to.absolute(),
            tuple(items[key]),
            overwrite,
        )
        for key, point in points.items()
    ]


def _into_dataset(places: Sequence[Location], dataset: str, overwrite: Overwrite) -> Request:
    if len(places) != 1 or places[0].path:
        raise UsageError("a new dataset takes one whole point; name a POINT without a path")
    point = places[0].point
    return Request(point, new_dataset.target_of(dataset, point), (Item(b"", b"", None),), overwrite)


def _carry_out(
    restorer: Restorer, plans: Sequence[Plan], reading: Reading, rate: DownloadRate, dataset: str | None
) -> list[RestoreReport]:
    reports = []
    for plan in plans:
        if dataset is not None and plan.request.target == new_dataset.NOWHERE:
            plan.request = replace(plan.request, target=new_dataset.make(dataset, plan.request.point))
        began = monotonic()
        report = restorer.restore(plan)
        if report.downloaded > report.local:
            rate.learn(reading.config.state, report.downloaded, monotonic() - began)
        reports.append(report)
    if dataset is not None:
        new_dataset.finish(dataset)
    return reports


def _tell(app: App, plans: Sequence[Plan], reports: Sequence[RestoreReport]) -> int:
    code = result_code(reports)
    app.emit(report_values(plans, reports, code))
    for report in reports:
        for path, reason in report.failed:
            click.echo(f"zdiffsync: not restored: {shown(path)}: {reason}", err=True)
        for text, count in report.warnings.items():
            often = f" ({count:,} times)" if count > 1 else ""
            click.echo(f"zdiffsync: warning: {text}{often}", err=True)
    app.say(report_summary(plans, reports))
    return int(code)
