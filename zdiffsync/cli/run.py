"""`zdiffsync run`: the nightly job."""

from dataclasses import asdict, dataclass

import click

from zdiffsync.backup.excludes import Excludes
from zdiffsync.backup.run import NightlyRun
from zdiffsync.backup.session import DatasetPlan
from zdiffsync.backup.tripped import Tripped, frozen
from zdiffsync.cli import complete
from zdiffsync.cli.attended import Ending, attended
from zdiffsync.cli.context import App, pass_app
from zdiffsync.cli.forget import retain
from zdiffsync.cli.monitored import Watch, monitored
from zdiffsync.cli.prune import prune_code
from zdiffsync.cli.recording import Recording, recording
from zdiffsync.cli.session import make_session
from zdiffsync.cli.summary import run_summary
from zdiffsync.config.config import Config
from zdiffsync.errors import UsageError
from zdiffsync.external.lock import exclusive
from zdiffsync.store.recovery_files import refresh_recovery_files


@click.command()
@click.argument("datasets", nargs=-1, shell_complete=complete.datasets)
@click.option("--base", is_flag=True, help="Make new bases whatever is due.")
@click.option(
    "--tag", "tags", multiple=True, help="Name the new points for forget's keep rules; may be repeated."
)
@click.option("--keep", is_flag=True, help="No keep rule ever forgets the new points.")
@click.option("--dry-run", is_flag=True, help="Find out what changed; store nothing.")
@click.option("--accept-changes", is_flag=True, help="Back up however much was deleted or rewritten.")
@pass_app
def run(
    app: App,
    datasets: tuple[str, ...],
    *,
    base: bool,
    tags: tuple[str, ...],
    keep: bool,
    dry_run: bool,
    accept_changes: bool,
) -> int:
    """Make a new restore point of every configured dataset (or of DATASETS only)."""
    known = [item.name for config in app.configs.values() for item in config.dataset]
    if unknown := [name for name in datasets if name not in known]:
        raise UsageError(f"{unknown[0]} is not configured; configured are {', '.join(dict.fromkeys(known))}")
    wishes = Wishes(datasets, base, tags, keep, dry_run, accept_changes)
    with monitored(app, dry_run=dry_run) as watch:
        return watch.ends(
            app.on_each_remote(
                lambda one: _run(one, wishes, watch),
                concerns=lambda config: not datasets or any(item.name in datasets for item in config.dataset),
            )
        )


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks of a run."""

    datasets: tuple[str, ...]
    base: bool
    tags: tuple[str, ...]
    keep: bool
    dry_run: bool
    accept_changes: bool


def _run(app: App, wishes: Wishes, watch: Watch) -> int:
    config, dry_run = app.config, wishes.dry_run
    with attended(app, config, wishes.datasets, watch, dry_run=dry_run) as night:
        plans = _plans(config, wishes.datasets)
        with exclusive(app.lock_path, "run"), recording(app, plans, dry_run=dry_run) as record:
            with night.hooks():
                night.ends(_back_up(app, plans, wishes, record))
            record.ends(night.code)
    return night.code


def _back_up(app: App, plans: list[DatasetPlan], wishes: Wishes, record: Recording) -> Ending:
    config, dry_run = app.config, wishes.dry_run
    with app.opened() as opened:
        session = record.watched(make_session(app, opened))
        nightly = NightlyRun(
            session, force_base=wishes.base, accept=wishes.accept_changes, tags=wishes.tags, keep=wishes.keep
        )
        record.follow(nightly.report)
        report = nightly.preview(plans) if dry_run else nightly.run(plans)
        if not dry_run:
            repository = opened.repository
            report.recovery = refresh_recovery_files(
                repository.store.plain, repository.identifier, config.state / "recovery-files"
            )
        if wishes.accept_changes and not (wishes.datasets or dry_run):
            left_out = {name for name, *_ in report.failed} | {name for name, _ in report.not_covered}
            Tripped(config.state).keep(left_out)
        waits = None if dry_run else frozen(config.state)
        retention = None if dry_run or report.failed or waits else retain(config, session)
        record.measure(session)
    code = int(report.exit_code) or (prune_code(retention.rounds) if retention else 0)
    retained = None if retention is None else retention.values()
    told = retention.lines() if retention else [waits] if waits and not report.tripped else []
    summary = run_summary(report, dry_run=dry_run, retention=told)
    return Ending(code, {**asdict(report), "retention": retained}, summary, report)


def _plans(config: Config, names: tuple[str, ...]) -> list[DatasetPlan]:
    if not config.dataset:
        raise UsageError("no dataset is configured; add a [[dataset]] table to the configuration file")
    return [
        DatasetPlan(item.name, item.recursive, Excludes([*config.exclude, *item.exclude]), item.globs)
        for item in config.dataset
        if not names or item.name in names
    ]
