"""`zdiffsync check`: whether all that was backed up is still there and right."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from zdiffsync.backup.excludes import Excludes
from zdiffsync.bases.bases import Bases
from zdiffsync.catalog.catalog import Point
from zdiffsync.cli import complete
from zdiffsync.cli.check_summary import check_summary, check_values, finding_text
from zdiffsync.cli.context import App, pass_app
from zdiffsync.cli.opening import Opened
from zdiffsync.config.config import Config
from zdiffsync.errors import UsageError, ZdiffsyncError
from zdiffsync.external.lock import exclusive
from zdiffsync.maintain.check import Check, Tools, Wishes
from zdiffsync.maintain.findings import Finding
from zdiffsync.maintain.subset import Subset
from zdiffsync.restore.local import snapshot_directories
from zdiffsync.restore.locate import find_point
from zdiffsync.restore.packs import RangedPacks
from zdiffsync.store.object_cache import ObjectCache
from zdiffsync.store.secret import Secret

_CACHE = 256 << 20  # bytes; what one sample reads of blocks it may read again


@click.command()
@click.argument("points", metavar="[POINT|DATASET]...", nargs=-1, shell_complete=complete.locations)
@click.option(
    "--read-data", is_flag=True, help="Read all packs and bases and hold them against their digests."
)
@click.option(
    "--read-data-subset", "subset", metavar="SUBSET",
    help="Read a part: N% or nG of what was not read for longest, or the n-th of t parts (n/t).",
)  # fmt: skip
@click.option(
    "--against-source", is_flag=True, help="Compare a sample of files with the ZFS snapshots that are here."
)
@click.option("--restore-drill", is_flag=True, help="Restore a sample of files of a point, and compare them.")
@click.option(
    "--sample", type=click.IntRange(min=1), default=100, show_default=True, metavar="N",
    help="Files in a sample.",
)  # fmt: skip
@click.option("--to", type=click.Path(path_type=Path), help="Where the restore drill may write.")
@pass_app
def check(
    app: App,
    points: tuple[str, ...],
    *,
    read_data: bool,
    subset: str | None,
    against_source: bool,
    restore_drill: bool,
    sample: int,
    to: Path | None,
) -> int:
    """Check that everything is on the remote and fits together; on request, that its bytes are right.

    POINTs and DATASETs bound what is read, compared and restored.
    """
    if read_data and subset is not None:
        raise UsageError("--read-data reads everything; leave it out or leave out --read-data-subset")
    if to is not None and not restore_drill:
        raise UsageError("--to is where the restore drill writes; add --restore-drill")
    read = Subset() if read_data else None if subset is None else Subset.parse(subset)

    def work(one: App) -> int:
        wishes = Wishes(None, read, against_source, restore_drill, sample, to)
        return _check(one, points, wishes)

    return work(app) if points else app.on_each_remote(work)


def _check(app: App, names: Sequence[str], wishes: Wishes) -> int:
    with (
        exclusive(app.config.state / "check.lock", "check"),
        app.opened(fill=False) as opened,
        _tools(app, opened) as tools,
    ):
        if names:
            wishes = replace(wishes, points=_named(opened.catalog.points(), names))
        checking = Check(tools, wishes, _teller(app))
        try:
            report = checking.run()
        except ZdiffsyncError as error:
            if app.json:
                app.emit(check_values(checking.report, error))
                return int(error.exit_code)
            raise
    app.emit(check_values(report))
    summary = check_summary(report)
    if report.findings:
        app.complain(summary)
    else:
        app.say(summary)
    return int(report.exit_code)


def _teller(app: App) -> Callable[[Finding], None]:
    def tell(finding: Finding) -> None:
        app.complain(f"zdiffsync: {finding_text(finding)}")

    return tell


def _named(points: Sequence[Point], names: Sequence[str]) -> list[Point]:
    """Return the points that names of points and datasets stand for, oldest first."""
    datasets = {point.dataset for point in points}
    keys: set[str] = set()
    for name in names:
        found = [p for p in points if p.dataset == name] if name in datasets else [find_point(points, name)]
        keys |= {point.key for point in found}
    return [point for point in points if point.key in keys]


@contextmanager
def _tools(app: App, opened: Opened) -> Iterator[Tools]:
    config, store = opened.config, opened.repository.store
    config.staging.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in config.staging.glob("check-*"):  # by one that was killed
        shutil.rmtree(left)
    with TemporaryDirectory(prefix="check-", dir=config.staging) as scratch:
        cache = ObjectCache(Path(scratch, "objects"), _CACHE)
        secret = Secret.from_file(Path(config.password_file))
        yield Tools(
            opened.repository, opened.catalog, opened.restic,
            Bases(store.plain, secret, config.cache / "bases", cache, sparing=True),
            RangedPacks(cache.over(store.data, "data", sparing=True)).fetch,
            snapshot_directories, lambda dataset: _excludes(config, dataset), config.state, Path(scratch),
            config.transfers, app.progress,
        )  # fmt: skip


def _excludes(config: Config, dataset: str) -> Excludes:
    """Return the patterns for a dataset, be it named or the child of a recursive one."""
    for item in config.dataset:
        if item.name == dataset or (item.recursive and dataset.startswith(item.name + "/")):
            return Excludes([*config.exclude, *item.exclude])
    return Excludes(config.exclude)
