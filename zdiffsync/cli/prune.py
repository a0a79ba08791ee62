"""`zdiffsync prune`: free the space on the remote that no point needs."""

from dataclasses import asdict, dataclass, replace
from datetime import timedelta

import click

from zdiffsync.backup.session import Session
from zdiffsync.backup.tripped import ensure_not_frozen
from zdiffsync.cli.context import App, pass_app
from zdiffsync.cli.session import make_session
from zdiffsync.cli.text import plural, size
from zdiffsync.errors import ExitCode, UsageError
from zdiffsync.external.lock import exclusive
from zdiffsync.maintain.prune import PrunePlan, PruneReport, execute_prune, plan_prune
from zdiffsync.maintain.prune_settings import PruneSettings


@click.command()
@click.option(
    "--max-unused", metavar="SHARE", help="Unused share of all packs to put up with, as 0.1 or 10%."
)
@click.option("--now", is_flag=True, help="Delete at once; only if no other host uses the repository now.")
@click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")
@pass_app
def prune(app: App, *, max_unused: str | None, now: bool, dry_run: bool) -> int:
    """Delete what no point needs: packs, bases, and parts of packs, some time after they became unused."""
    share = None if max_unused is None else _share(max_unused)
    return app.on_each_remote(lambda one: _prune(one, share, now=now, dry_run=dry_run))


def _prune(app: App, share: float | None, *, now: bool, dry_run: bool) -> int:
    settings = app.config.prune_settings()
    if share is not None:
        settings = replace(settings, max_unused=share)
    if now:
        settings = replace(settings, grace=timedelta())
    with exclusive(app.lock_path, "prune"), app.opened() as opened:
        if not dry_run:
            ensure_not_frozen(app.config.state)
        rounds = prune_rounds(make_session(app, opened), settings, dry_run=dry_run)
    app.emit({"rounds": [each.values() for each in rounds]})
    app.say("\n".join(prune_lines(rounds)))
    return prune_code(rounds)


@dataclass(frozen=True, slots=True)
class PruneRound:
    """One plan, and what came of it (None: a dry run)."""

    plan: PrunePlan
    report: PruneReport | None

    def values(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {"plan": asdict(self.plan), "report": None if self.report is None else asdict(self.report)}


def prune_rounds(session: Session, settings: PruneSettings, *, dry_run: bool = False) -> list[PruneRound]:
    """Prune; without a time of grace a second round deletes what the first has condemned."""
    if dry_run:
        return [PruneRound(plan_prune(session, settings), None)]
    rounds = [_round(session, settings)]
    if not (settings.grace or rounds[0].plan.is_empty):
        rounds.append(_round(session, settings))
    return rounds


def _round(session: Session, settings: PruneSettings) -> PruneRound:
    plan = plan_prune(session, settings)
    return PruneRound(plan, execute_prune(session, plan))


def prune_code(rounds: list[PruneRound]) -> int:
    """Return the exit code: damaged packs are an integrity error."""
    damaged = any(each.report and each.report.damaged for each in rounds)
    return int(ExitCode.INTEGRITY if damaged else ExitCode.DONE)


def prune_lines(rounds: list[PruneRound]) -> list[str]:
    """Return what to tell people."""
    lines = []
    for each in rounds:
        lines += _plan_lines(each.plan)
        if each.report and each.report.bases_locked:
            lines.append("the bases stay until a later prune: another host is working on restic's repository")
        lines += [
            f"damaged, so not written anew: pack {pack}; run zdiffsync check"
            for pack in (each.report.damaged if each.report else ())
        ]
    return lines


def _plan_lines(plan: PrunePlan) -> list[str]:
    share = f"{plan.unused / plan.size:.0%}" if plan.size else "0%"
    lines = [f"{plural(plan.packs, 'pack')}, {size(plan.size)}; {size(plan.unused)} of it ({share}) unused"]
    if plan.delete_packs or plan.delete_bases:
        lines.append(f"delete: {_things(plan.delete_packs, plan.delete_bases, plan.delete_size)}")
    if plan.condemn_packs or plan.condemn_bases:
        things = _things(plan.condemn_packs, plan.condemn_bases, plan.condemn_size)
        lines.append(f"to be deleted by a later prune: {things}")
    if plan.busy_packs:
        lines.append(f"left alone while another run is under way: {plural(plan.busy_packs, 'pack')}")
    if plan.rewrite:
        used = sum(use.used for use in plan.rewrite)
        whole = sum(use.size for use in plan.rewrite)
        lines.append(
            f"write anew: {plural(len(plan.rewrite), 'pack')}, {size(whole)}, with {size(used)} in use"
        )
    if plan.leftovers:
        lines.append(f"delete what broken uploads and merges left: {plural(len(plan.leftovers), 'object')}")
    if plan.is_empty:
        lines.append("nothing to do")
    return lines


def _things(packs: tuple[str, ...], bases: tuple[str, ...], count: int) -> str:
    parts = [f"{plural(len(packs), 'pack')} ({size(count)})"] if packs else []
    parts += [plural(len(bases), "base")] if bases else []
    return ", ".join(parts)


def _share(text: str) -> float:
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError as error:
        raise UsageError(f"--max-unused {text!r} is no share; write 0.1 or 10%") from error
    if not 0 <= value <= 1:
        raise UsageError(f"--max-unused {text!r} is not between 0 and 1")
    return value
