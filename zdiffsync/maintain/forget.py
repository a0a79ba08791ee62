"""Forgetting points: the manifests of what goes are merged into the next that stays, or deleted.

forget: decisions -> plan (what will be merged and deleted) -> execute. Rule: a manifest is deleted only
after the one that holds instead of it is on the remote; a chain's end is deleted from the newest on.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from zdiffsync.backup.session import Session
from zdiffsync.backup.sync import sync_catalog
from zdiffsync.catalog.catalog import Point
from zdiffsync.maintain.merge import Alterations, write_merged
from zdiffsync.maintain.policy import Decision
from zdiffsync.store.names import ManifestName


@dataclass(frozen=True, slots=True)
class ChainPlan:
    """What happens to one chain: `merges` of consecutive manifests, then `drops` in this order."""

    chain_id: int
    kept: tuple[int, ...]
    merges: tuple[tuple[ManifestName, ...], ...]
    drops: tuple[ManifestName, ...]


@dataclass(frozen=True, slots=True)
class ForgetPlan:
    """What `forget` shows, and does."""

    decisions: tuple[Decision[Point], ...]
    chains: tuple[ChainPlan, ...]


def plan_forget(decisions: Iterable[Decision[Point]]) -> ForgetPlan:
    """Plan by decisions, which are about all points of their chains."""
    made = tuple(decisions)
    chains: dict[int, list[Decision[Point]]] = {}
    for decision in made:
        chains.setdefault(decision.point.chain_id, []).append(decision)
    plans = (_plan_chain(chain_id, members) for chain_id, members in chains.items())
    return ForgetPlan(made, tuple(plan for plan in plans if plan.merges or plan.drops))


def _plan_chain(chain_id: int, members: list[Decision[Point]]) -> ChainPlan:
    merges: list[tuple[ManifestName, ...]] = []
    pending: list[ManifestName] = []
    kept: list[int] = []
    for decision in sorted(members, key=lambda each: each.point.sequence):
        pending.append(decision.point.manifest)
        if decision.kept:
            kept.append(decision.point.sequence)
            if len(pending) > 1:
                merges.append(tuple(pending))
            pending = []
    return ChainPlan(chain_id, tuple(kept), tuple(merges), tuple(reversed(pending)))


def execute_forget(session: Session, plan: ForgetPlan) -> None:
    """Do what the plan says. Broken off, what is done is done and doing it again does the rest.

    Raises RemoteError, also where the remote lets nothing be deleted; IntegrityError.
    """
    area = session.store.data
    total = sum(len(merge) for chain in plan.chains for merge in chain.merges)
    total += sum(len(chain.drops) for chain in plan.chains)
    with session.staging() as stage, session.progress("forgetting", total, unit="points") as bar:
        for chain in plan.chains:
            with session.catalog.upkeep() as upkeep:
                needed = upkeep.needed(chain.chain_id, chain.kept) if chain.merges else None
                for merge in chain.merges:
                    write_merged(area, stage, merge, Alterations(upkeep.pack, needed))
                    area.delete([str(name) for name in reversed(merge)])
                    bar.advance(len(merge))
            for name in chain.drops:  # one by one: what is left must always begin at 0 and have no gap
                area.delete([str(name)])
                bar.advance(1)
    sync_catalog(area, session.catalog, session.progress)
