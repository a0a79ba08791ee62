"""`zdiffsync init`: a configuration file, a password file and an empty repository on the remote.

With --remote or a configuration file it asks nothing; without, on a terminal, it asks (cli.init_dialogue).
Rule: a set-up that fails or is broken off leaves no files behind.
"""

import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import click

from zdiffsync.cli.context import App, pass_app
from zdiffsync.cli.init_dialogue import ask, ask_host, joined, next_steps
from zdiffsync.cli.init_plan import Plan, parse_keep
from zdiffsync.cli.init_setup import Ready, set_up, undone
from zdiffsync.cli.kit import sheet
from zdiffsync.cli.schedule import install
from zdiffsync.errors import INTERRUPTED, UsageError
from zdiffsync.external.rclone_env import shown
from zdiffsync.schedule.units import NIGHTLY


@click.command()
@click.option("--remote", help="Where to back up to: an rclone remote like 'o365:backup', or a directory.")
@click.option("--dataset", "datasets", multiple=True, help="A dataset to back up; may be repeated.")
@click.option("--recursive", is_flag=True, help="Take the datasets' children along.")
@click.option("--password-file", type=click.Path(path_type=Path), help="Made with a new password if missing.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="Where the catalog and caches live.")
@click.option("--keep", "rules", multiple=True, help="A rule like 'daily=7'; may be repeated.")
@click.option("--host", help="The name of this machine in the repository.")
@click.option("--schedule", "nightly", is_flag=True, help="Run every night, by a timer of systemd.")
@pass_app
def init(
    app: App,
    remote: str | None,
    datasets: tuple[str, ...],
    *,
    recursive: bool,
    password_file: Path | None,
    state_dir: Path | None,
    rules: tuple[str, ...],
    host: str | None,
    nightly: bool,
) -> int:
    """Set up a repository, or join one that is there; write the configuration file unless there is one.

    On a terminal and without --remote it asks for what it has to know.
    """
    given = Plan(
        remote or "", (password_file or app.config_path.parent / "password").absolute(),
        tuple((name, recursive) for name in datasets),
        None if state_dir is None else state_dir.absolute(), parse_keep(rules), host,
    )  # fmt: skip
    if app.config_path.exists():
        if remote or datasets or password_file or state_dir or rules or host:
            raise UsageError(
                f"{app.config_path} exists already; change it there, or name another file with -c"
            )
        code = app.on_each_remote(lambda one: _tell(one, set_up(one, [])))
    elif remote is not None:
        with undone(given, app.config_path) as made:
            code = app.on_each_remote(lambda one: _tell(one, set_up(one, made.paths)))
    elif _can_ask(app):
        return _dialogue(app, given, nightly=nightly)
    else:
        raise UsageError(f"there is no {app.config_path} yet; say where to back up to with --remote")
    if nightly and not code:
        click.get_current_context().invoke(install, at=NIGHTLY, dry_run=False)
    return code


def _can_ask(app: App) -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and not (app.json or app.quiet)


def _dialogue(app: App, given: Plan, *, nightly: bool) -> int:
    try:
        answers = ask(given, app.config_path, nightly=nightly)
        with undone(answers.plan, app.config_path) as made:
            click.echo()
            ready = set_up(app, made.paths)
            if answers.plan.host is None and (host := ask_host(ready)) is not None:
                made.rewrite(app.config_path, replace(answers.plan, host=host).text())
    except (click.Abort, KeyboardInterrupt):
        click.echo("\nnothing was set up")
        return INTERRUPTED
    _report(app, ready)
    if answers.nightly:
        click.get_current_context().invoke(install, at=NIGHTLY, dry_run=False)
    click.echo("\nKeep this on paper, with the password (zdiffsync kit prints it again):\n")
    click.echo(textwrap.indent("\n".join(sheet(app, app.config, ready.repository)), "  "))
    click.echo("\n" + "\n".join(next_steps(answers, ready)))
    return 0


def _tell(app: App, ready: Ready) -> None:
    app.emit(
        {
            "repository": ready.repository, "remote": shown(ready.config.remote),
            "joined": ready.points is not None, "written": ready.written,
        }
    )  # fmt: skip
    _report(app, ready)
    if ready.hosts and ready.config.host in ready.hosts:
        app.say(f"  It has points of host {ready.config.host}. If that is another machine, set host in")
        app.say(f"  {app.config_path}")
    app.say("Next: zdiffsync run" if ready.config.dataset else f"Next: name a dataset in {app.config_path}")


def _report(app: App, ready: Ready) -> None:
    config = ready.config
    state = "is ready" if ready.points is None else "was there already"
    app.say(f"Repository {ready.repository[:8]} {state} at {shown(config.remote)}")
    for line in joined(ready):
        app.say(line)
    for name in ready.written:
        app.say(f"  wrote {name}")
    if config.password_file in ready.written:
        app.say("  Keep a copy of the password file elsewhere: without it nobody can restore.")
