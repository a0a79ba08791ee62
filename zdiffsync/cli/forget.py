"""`zdiffsync forget`: drop the points that no keep rule wants any more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import click

from zdiffsync.backup.session import Session
from zdiffsync.backup.sync import sync_catalog
from zdiffsync.backup.tripped import ensure_not_frozen
from zdiffsync.catalog.catalog import Point
from zdiffsync.cli import complete
from zdiffsync.cli.context import App, pass_app
from zdiffsync.cli.prune import PruneRound, prune_code, prune_lines, prune_rounds
from zdiffsync.cli.session import make_session
from zdiffsync.cli.text import local, plural, short_keys
from zdiffsync.config.config import Config
from zdiffsync.errors import UsageError
from zdiffsync.external.lock import exclusive
from zdiffsync.maintain.forget import ForgetPlan, execute_forget, plan_forget
from zdiffsync.maintain.policy import Decision, KeepRules, decide
from zdiffsync.restore.locate import find_point

_COUNTED = {
    "last": "the last N points", "hourly": "the last point of each of the last N hours that have one",
    "daily": "the same for days", "weekly": "the same for weeks", "monthly": "the same for months",
    "yearly": "the same for years",
}  # fmt: skip
_WITHIN = {
    "within": "all points made so shortly before the newest one, as '1y5m7d2h'",
    "within-hourly": "the last point of each hour in such a time", "within-daily": "the same for days",
    "within-weekly": "the same for weeks", "within-monthly": "the same for months",
    "within-yearly": "the same for years",
}  # fmt: skip


def _keep_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option(f"--keep-{name}", metavar=kind, help=f"Keep {words}.")
        for kind, rules in (("N", _COUNTED), ("DURATION", _WITHIN))
        for name, words in rules.items()
    ]
    options.append(
        click.option(
            "--keep-tag", "keep_tags", multiple=True, metavar="TAG[,TAG]",
            help="Keep points that have all these tags; may be repeated.",
        )
    )  # fmt: skip
    return reduce(lambda made, option: option(made), reversed(options), command)


@click.command()
@click.argument("points", nargs=-1, shell_complete=complete.locations)
@click.option("--dataset", "datasets", multiple=True, help="Only points of this dataset; may be repeated.")
@click.option("--host", help="Points of another host, on which zdiffsync is not used any more.")
@_keep_options
@click.option("--prune", is_flag=True, help="Then free the space that is not needed any more.")
@click.option("--dry-run", is_flag=True, help="Show what would be forgotten; change nothing.")
@pass_app
def forget(
    app: App,
    /,
    points: tuple[str, ...],
    *,
    datasets: tuple[str, ...],
    host: str | None,
    prune: bool,
    dry_run: bool,
    keep_tags: tuple[str, ...],
    **keep: str | None,
) -> int:
    """Forget POINTS; or all points that no keep rule wants, of the options or else of the configuration."""
    rules = _rules(keep, keep_tags)
    if points and (rules is not None or datasets):
        raise UsageError("name the points to forget, or give keep rules; not both")

    def work(one: App) -> int:
        return _forget(one, _Wishes(points, datasets, host, prune, dry_run), rules)

    return work(app) if points else app.on_each_remote(work)


@dataclass(frozen=True, slots=True)
class _Wishes:
    """What the command line asks, but for the rules."""

    points: tuple[str, ...]
    datasets: tuple[str, ...]
    host: str | None
    prune: bool
    dry_run: bool


def _forget(app: App, wishes: _Wishes, rules: KeepRules | None) -> int:
    points, datasets, dry_run = wishes.points, wishes.datasets, wishes.dry_run
    with exclusive(app.lock_path, "forget"), app.opened() as opened:
        session = make_session(app, opened)
        sync_catalog(session.store.data, session.catalog, app.progress)
        mine = [point for point in session.catalog.points() if point.host == (wishes.host or session.host)]
        decisions = _named(mine, points) if points else _ruled(app.config, mine, rules, datasets)
        plan = plan_forget(decisions)
        if not dry_run:
            ensure_not_frozen(app.config.state)
            execute_forget(session, plan)
        rounds = prune_rounds(session, app.config.prune_settings(), dry_run=dry_run) if wishes.prune else []
    app.emit(_values(plan) | ({"prune": [each.values() for each in rounds]} if wishes.prune else {}))
    app.say("\n".join([*_lines(plan, dry_run=dry_run), *prune_lines(rounds)]))
    return prune_code(rounds)


@dataclass(frozen=True, slots=True)
class Retention:
    """What the configuration's keep rules made a run forget and prune."""

    forgotten: tuple[str, ...]
    rounds: list[PruneRound]

    def values(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {"forgotten": self.forgotten, "prune": [each.values() for each in self.rounds]}

    def lines(self) -> list[str]:
        """Return what to tell people; nothing of a night on which there was nothing to do."""
        forgot = [f"forgot {plural(len(self.forgotten), 'point')}"] if self.forgotten else []
        return forgot + prune_lines([each for each in self.rounds if not each.plan.is_empty])


def retain(config: Config, session: Session) -> Retention | None:
    """Forget what the configuration's rules do not keep, and prune; None where it has no rules."""
    mine = [point for point in session.catalog.points() if point.host == session.host]
    decisions = _decided(mine, config.keep_rules, ())
    if all(_UNRULED in each.reasons for each in decisions):
        return None
    plan = plan_forget(decisions)
    execute_forget(session, plan)
    forgotten = tuple(each.point.key for each in decisions if not each.kept)
    return Retention(forgotten, prune_rounds(session, config.prune_settings()))


_UNRULED = "no rules"


def _rules(keep: dict[str, str | None], tags: tuple[str, ...]) -> KeepRules | None:
    given = {name.removeprefix("keep_"): value for name, value in keep.items() if value is not None}
    if not given and not tags:
        return None
    try:
        rules = KeepRules.parse({**given, "tags": list(tags)})
    except ValueError as error:
        name, _, reason = str(error).partition(": ")
        raise UsageError(f"--keep-{name.replace('_', '-').removesuffix('s')}: {reason}") from error
    if rules.empty:
        raise UsageError("these rules keep nothing; give one that keeps some points")
    return rules


def _groups(points: Sequence[Point]) -> list[list[Point]]:
    """Part the points by dataset, whatever it was called when, in the order they were made.

    ZFS counts transactions; a clock can be set back.
    """
    groups: dict[int, list[Point]] = {}
    for point in sorted(points, key=lambda point: point.createtxg):
        groups.setdefault(point.dataset_guid, []).append(point)
    return list(groups.values())


def _named(points: list[Point], names: Sequence[str]) -> list[Decision[Point]]:
    gone = {find_point(points, name).key for name in names}
    for group in _groups(points):
        if group[-1].key in gone:
            raise UsageError(
                f"{group[-1].key} is the newest point of {group[-1].dataset}, which the next run builds on; "
                "forget it after that"
            )
    touched = {point.chain_id for point in points if point.key in gone}
    return [
        Decision(point, () if point.key in gone else ("not named",))
        for point in points
        if point.chain_id in touched
    ]


def _ruled(
    config: Config, points: list[Point], rules: KeepRules | None, datasets: Sequence[str]
) -> list[Decision[Point]]:
    known = {group[-1].dataset for group in _groups(points)}
    if unknown := [name for name in datasets if name not in known]:
        raise UsageError(f"there are no points of {unknown[0]}; there are of {', '.join(sorted(known))}")
    decisions = _decided(points, lambda name: rules or config.keep_rules(name), datasets)
    if points and all(_UNRULED in each.reasons for each in decisions):
        raise UsageError("nothing says what to keep; give --keep-... or a [keep] table in the configuration")
    return decisions


def _decided(
    points: list[Point], rules: Callable[[str], KeepRules], datasets: Sequence[str]
) -> list[Decision[Point]]:
    now_ns = int(datetime.now(UTC).timestamp() * 10**9)
    return [
        decision
        for group in _groups(points)
        if not datasets or group[-1].dataset in datasets
        for decision in decide(group, rules(group[-1].dataset), now_ns=now_ns)
    ]


def _lines(plan: ForgetPlan, *, dry_run: bool) -> list[str]:
    keys = short_keys([each.point for each in plan.decisions])
    groups: dict[int, list[Decision[Point]]] = {}
    for each in plan.decisions:
        groups.setdefault(each.point.dataset_guid, []).append(each)
    lines = [] if groups else ["no points of this host"]
    for group in groups.values():
        gone = sum(not each.kept for each in group)
        lines.append(
            f"{group[-1].point.dataset}: {'would forget' if dry_run else 'forgot'} {plural(gone, 'point')}, "
            f"{len(group) - gone} stay"
        )
        lines += [
            f"  {'keep  ' if each.kept else 'forget'}  {keys[each.point.key]}  "
            f"{local(each.point.created_ns)}  {each.point.kind:<9}  {', '.join(each.reasons)}".rstrip()
            for each in group
        ]
    return lines


def _values(plan: ForgetPlan) -> dict[str, object]:
    return {
        "points": [
            {"point": each.point.key, "dataset": each.point.dataset, "created_ns": each.point.created_ns,
             "keep": each.kept, "reasons": each.reasons}
            for each in plan.decisions
        ],
        "forgotten": sum(not each.kept for each in plan.decisions),
    }  # fmt: skip
