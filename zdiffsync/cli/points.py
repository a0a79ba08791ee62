"""`zdiffsync points`: the restore points there are."""

from datetime import datetime

import click

from zdiffsync.catalog.catalog import Point
from zdiffsync.cli import complete
from zdiffsync.cli.context import App, pass_app
from zdiffsync.cli.text import plural, size


@click.command()
@click.argument("dataset", required=False, shell_complete=complete.datasets)
@pass_app
def points(app: App, dataset: str | None) -> None:
    """List the restore points (of DATASET), oldest first."""
    with app.catalog() as catalog:
        found = catalog.points(dataset)
    if not found:
        with app.opened() as opened:
            found = opened.catalog.points(dataset)
    app.emit({"points": [_values(point) for point in found]})
    if not found:
        app.say("no restore points yet; make one with zdiffsync run")
        return
    width = max(len(point.dataset) for point in found)
    hosts = {point.host for point in found}
    wide = max(len("HOST"), *map(len, hosts)) + 2 if len(hosts) > 1 else 0
    app.show(
        f"{'POINT':<16}  {'TIME':<19}  {'HOST' if wide else '':<{wide}}{'DATASET':<{width}}  {'KIND':<9}  "
        f"{'UPLOADED':>10}  CHANGES"
    )
    for point in found:
        host = point.host if wide else ""
        app.show(
            f"{point.key:<16}  {local_time(point):<19}  {host:<{wide}}{point.dataset:<{width}}  "
            f"{point.kind:<9}  {size(point.stats.get('uploaded_bytes', 0)):>10}  {_changes(point)}"
            f"{_labels(point)}"
        )


def local_time(point: Point) -> str:
    """Return when the snapshot was taken, in local time."""
    return f"{datetime.fromtimestamp(point.created_ns / 1e9).astimezone():%Y-%m-%d %H:%M:%S}"


def _changes(point: Point) -> str:
    stats = point.stats
    if point.sequence == 0:
        return f"{plural(stats.get('files_total') or 0, 'file')}, {size(stats.get('bytes_total') or 0)}"
    created, modified, metadata_only, removed = (
        stats.get(figure, 0) for figure in ("created", "modified", "metadata_only", "names_removed")
    )
    return f"+{created:,} ~{modified + metadata_only:,} -{removed:,}"


def _labels(point: Point) -> str:
    labels = [f"#{tag}" for tag in point.tags] + (["kept"] if point.keep else [])
    return f"  ({', '.join(labels)})" if labels else ""


def _values(point: Point) -> dict[str, object]:
    return {
        "point": point.key, "dataset": point.dataset, "kind": point.kind, "chain": point.chain,
        "sequence": point.sequence, "host": point.host, "snapshot": point.snapshot, "guid": point.guid,
        "created_ns": point.created_ns, "tags": point.tags, "keep": point.keep, "stats": point.stats,
    }  # fmt: skip
