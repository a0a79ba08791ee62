"""`zdiffsync run`: the nightly job."""

from dataclasses import asdict

import click

from zdiffsync.backup.contents import ContentSettings
from zdiffsync.backup.excludes import Excludes
from zdiffsync.backup.run import NightlyRun
from zdiffsync.backup.session import BackupSettings, DatasetPlan, Session
from zdiffsync.cli import complete
from zdiffsync.cli.context import App, Opened, pass_app
from zdiffsync.cli.summary import run_summary
from zdiffsync.config.config import Config
from zdiffsync.errors import UsageError
from zdiffsync.external.lock import exclusive
from zdiffsync.format.delta_policy import DeltaPolicy


@click.command()
@click.argument("datasets", nargs=-1, shell_complete=complete.datasets)
@click.option("--base", is_flag=True, help="Make new bases whatever is due.")
@click.option(
    "--tag", "tags", multiple=True, help="Name the new points for forget's keep rules; may be repeated."
)
@click.option("--keep", is_flag=True, help="No keep rule ever forgets the new points.")
@click.option("--dry-run", is_flag=True, help="Find out what changed; store nothing.")
@pass_app
def run(
    app: App, datasets: tuple[str, ...], *, base: bool, tags: tuple[str, ...], keep: bool, dry_run: bool
) -> int:
    """Make a new restore point of every configured dataset (or of DATASETS only)."""
    config = app.config
    plans = _plans(config, datasets)
    with exclusive(app.lock_path, "run"), app.opened() as opened:
        nightly = NightlyRun(_session(app, opened), force_base=base, tags=tags, keep=keep)
        report = nightly.preview(plans) if dry_run else nightly.run(plans)
    app.emit({**asdict(report), "exit_code": int(report.exit_code)})
    summary = run_summary(report, dry_run=dry_run)
    if app.quiet and report.exit_code:
        click.echo(summary, err=True)  # cron mails what stands here, so it must say what went wrong
    app.say(summary)
    return int(report.exit_code)


def _plans(config: Config, names: tuple[str, ...]) -> list[DatasetPlan]:
    configured = {item.name: item for item in config.dataset}
    if not configured:
        raise UsageError("no dataset is configured; add a [[dataset]] table to the configuration file")
    if unknown := [name for name in names if name not in configured]:
        raise UsageError(f"{unknown[0]} is not configured; configured are {', '.join(configured)}")
    return [
        DatasetPlan(item.name, item.recursive, Excludes([*config.exclude, *item.exclude]))
        for item in config.dataset
        if not names or item.name in names
    ]


def _session(app: App, opened: Opened) -> Session:
    config = opened.config
    settings = BackupSettings(
        staging=config.staging,
        staging_space=config.size("staging_space"),
        pack_size=config.size("pack_size"),
        contents=ContentSettings(
            large_file=config.size("large_file"),
            max_depth=config.max_delta_depth,
            policy=DeltaPolicy(upload_bytes_per_second=float(config.size("upload_rate"))),
        ),
        base_every=config.base_age(),
        base_when_increments_exceed=config.base_when_increments_exceed,
    )
    return Session(
        opened.repository.identifier, config.host, opened.repository.store, opened.catalog, opened.restic,
        settings, app.progress,
    )  # fmt: skip
