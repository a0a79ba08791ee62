"""The questions of `init` on a terminal, in order: datasets, remote, password, what to keep, when.

Rule: every question has a flag that answers it, and nothing is written before the last answer.
"""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import click
import humanize

from zdiffsync.cli.init_datasets import choose_datasets, covered
from zdiffsync.cli.init_plan import Plan, parse_keep
from zdiffsync.cli.init_remote import choose_remote
from zdiffsync.cli.init_setup import Ready
from zdiffsync.cli.text import local
from zdiffsync.errors import UsageError
from zdiffsync.external.rclone_env import shown
from zdiffsync.external.restic import check_restic
from zdiffsync.external.systemd import booted
from zdiffsync.model.text import plural, size
from zdiffsync.schedule.units import NIGHTLY
from zdiffsync.store.repository import open_repository
from zdiffsync.store.secret import Secret

_WIDTH = 78  # characters of a line
_KEEP = "daily=7 weekly=5 monthly=12"


@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered: the plan, and whether to run every night."""

    plan: Plan
    nightly: bool


def ask(given: Plan, config_path: Path, *, nightly: bool) -> Answers:
    """Ask for what `given` leaves open. Raises ToolMissingError, and click.Abort for Ctrl-C."""
    check_restic()
    click.echo("This sets up the backup of ZFS datasets. Nothing is written before the last")
    click.echo("question, and Ctrl-C leaves everything as it is.\n")
    found, chosen = choose_datasets() if not given.datasets else ([], given.datasets)
    remote, tried, joins = choose_remote()
    plan = replace(given, remote=remote, datasets=chosen)
    if (stored := covered(found, chosen)) and not joins:
        read = sum(item.logical for item in stored)
        upload = sum(min(item.referenced, item.logical) for item in stored)
        click.echo(f"\n{_first_run(read, upload, tried.upload_rate)}")
    click.echo()
    plan = _password(plan, joins=joins)
    if not plan.keep:
        plan = replace(plan, keep=_keep())
    if not nightly and chosen and booted():
        nightly = click.confirm(f"Run every night at {NIGHTLY}, by a timer of systemd?", default=True)
    click.echo(f"\n{_shown(plan, config_path, joins=joins, nightly=nightly)}\n")
    if not click.confirm("Set it up?", default=True):
        raise click.Abort
    return Answers(plan, nightly)


def _first_run(read: int, upload: int, rate: float) -> str:
    time = humanize.naturaldelta(timedelta(seconds=upload / rate))
    text = (
        f"The first run reads {size(read)} and uploads at most about {size(upload)}, less what restic "
        f"compresses and finds twice. At the measured rate that is {time}; several transfers at once may be "
        "quicker. Broken off, it goes on. Later nights upload what changed."
    )
    return textwrap.fill(text, _WIDTH)


def _password(plan: Plan, *, joins: bool) -> Plan:
    """Ask for the password file, and for a repository that is there until the password opens it."""
    while True:
        path = Path(click.prompt("Password file", default=str(plan.password_file))).expanduser().absolute()
        answered = replace(plan, password_file=path)
        try:
            if path.exists():
                secret = Secret.from_file(path)
            elif joins:
                typed = click.prompt(f"There is no {path} yet; the repository's password", hide_input=True)
                answered = replace(answered, password=typed)
                secret = Secret(typed.encode())
            else:
                return answered
            if joins:
                with open_repository(plan.remote, secret):
                    click.echo("It opens the repository.")
        except UsageError as error:
            click.echo(f"{error}.")
        else:
            return answered


def _keep() -> dict[str, str]:
    click.echo("\nWhich points to keep; the others are forgotten after each run. 'all' keeps all.")
    while True:
        text = click.prompt("Keep", default=_KEEP)
        try:
            return {} if text.strip() == "all" else parse_keep(text.replace(",", " ").split())
        except UsageError as error:
            click.echo(f"{error}.")


def _shown(plan: Plan, config_path: Path, *, joins: bool, nightly: bool) -> str:
    datasets = ", ".join(name + (" and all below it" if below else "") for name, below in plan.datasets)
    password = "is there" if plan.password_file.exists() else "as typed" if plan.password else "is made"
    rows = {
        "datasets": datasets or "none yet",
        "remote": f"{shown(plan.remote)}, {'joining its repository' if joins else 'a new repository'}",
        "password": f"{plan.password_file} ({password})",
        "keep": " ".join(f"{key}={value}" for key, value in plan.keep.items()) or "all points",
        "nights": f"at {NIGHTLY}" if nightly else "not scheduled",
        "config": str(config_path.absolute()),
    }
    return "\n".join(f"  {key:<9} {value}" for key, value in rows.items())


def ask_host(ready: Ready) -> str | None:
    """Ask which of the repository's machines this one is; None for one of its own, by its own name.

    Two machines of one name would take each other's points for their own.
    """
    hosts = sorted(ready.hosts or ())
    own = ready.config.host
    if own in hosts:
        click.echo(f"\nThe repository has points of a machine called {own}.")
        if click.confirm("Is it this one?", default=True):
            return None
        while (name := click.prompt("What is this one to be called there?").strip()) in hosts:
            click.echo(f"{name} has points there, too.")
        return str(name)
    if not hosts:
        return None
    click.echo(f"\nThe repository has points of {', '.join(hosts)}; this machine is called {own}.")
    click.echo("If it is one of those, set up anew, or has its pool, its chains can go on.")
    answer = click.prompt(
        "Go on as", type=click.Choice([*hosts, own]), default=hosts[0] if len(hosts) == 1 else own
    )
    return None if answer == own else str(answer)


def joined(ready: Ready) -> Iterator[str]:
    """Yield what a repository that was there already holds, a dataset a line."""
    last = {(point.host, point.dataset): point for point in ready.points or ()}
    for (host, dataset), point in sorted(last.items()):
        count = sum((each.host, each.dataset) == (host, dataset) for each in ready.points or ())
        yield f"  {dataset} of {host}: {plural(count, 'point')}, the last of {local(point.created_ns)}"


def next_steps(answers: Answers, ready: Ready) -> Iterator[str]:
    """Yield what to do now."""
    if ready.points:
        yield "To have something back:"
        yield "    zdiffsync points"
        yield "    zdiffsync restore POINT:PATH --to DIRECTORY"
    if answers.plan.datasets:
        yield "Next, the first run:" if not ready.points else "To back up from here:"
        yield "    zdiffsync run"
    else:
        yield "To back up from here, name a dataset in the configuration, then"
        yield "    zdiffsync run"
    yield "When something does not work:"
    yield "    zdiffsync doctor"
