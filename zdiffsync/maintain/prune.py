"""Freeing the space that no point needs: what goes is first condemned, and deleted by a later prune.

prune: sync -> plan -> execute. Two phases, because a reader may still be at a forgotten point and another
host's run may not have committed yet what it uploaded. Rule: deleted is only what was condemned long
enough ago and is still not referred to by any manifest on the remote.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from zdiffsync.backup.session import Session
from zdiffsync.backup.sync import sync_catalog
from zdiffsync.catalog.upkeep import PackUse
from zdiffsync.errors import LockedError
from zdiffsync.maintain.prune_settings import PruneSettings
from zdiffsync.maintain.repack import repack
from zdiffsync.store.condemned import condemn, read_condemned
from zdiffsync.store.names import pack_name, parse_manifest_name, parse_pack_name
from zdiffsync.store.working import read_marks

BASE_TAG = "zdiffsync"


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What `prune` shows, and does; sizes in bytes.

    `delete_*`: condemned before, go now. `condemn_*`: nothing refers to them, go by a later prune.
    `busy_packs`: left alone while a run is under way that may have uploaded them. `rewrite`: packs that are
    written anew without what nothing needs. `leftovers`: of broken uploads and merges. `lists`: lists, and
    marks of runs, that are done with then.
    """

    packs: int
    size: int
    unused: int
    delete_packs: tuple[str, ...] = ()
    delete_size: int = 0
    delete_bases: tuple[str, ...] = ()
    condemn_packs: tuple[str, ...] = ()
    condemn_size: int = 0
    condemn_bases: tuple[str, ...] = ()
    busy_packs: int = 0
    rewrite: tuple[PackUse, ...] = ()
    leftovers: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not any(
            (self.delete_packs, self.delete_bases, self.condemn_packs, self.condemn_bases, self.rewrite,
             self.leftovers, self.lists)
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What was done: bytes of the packs deleted, and of those written anew before and after.

    `bases_locked`: no base could be deleted, since another host works on restic's repository. `damaged` are
    packs that could not be written anew because they are not what their manifest says.
    """

    deleted: int
    rewritten_from: int
    rewritten_to: int
    damaged: tuple[str, ...]
    bases_locked: bool = False


def plan_prune(session: Session, settings: PruneSettings) -> PrunePlan:
    """Find out what a prune would do; changes nothing. Raises RemoteError, IntegrityError, ResticError."""
    area = session.store.data
    # In this order: a run elsewhere sets its mark before it uploads and takes it away after its manifest.
    there = {parse_pack_name(name): size for name, size in area.sizes("packs").items()}
    bases = {each.id for each in session.restic.snapshots([BASE_TAG])}
    since, over = read_marks(area)
    sync_catalog(area, session.catalog, session.progress)
    with session.catalog.upkeep() as upkeep:
        uses = list(upkeep.packs())
    in_work_packs, in_work_bases = session.catalog.journal.in_work()
    loose_packs = there.keys() - {use.pack for use in uses} - in_work_packs
    loose_bases = bases - {point.restic for point in session.catalog.points()} - in_work_bases
    due = datetime.now(UTC) - settings.grace
    lists = read_condemned(area)
    old = [each for each in lists if each.time <= due]
    young_packs = {pack for each in lists if each.time > due for pack in each.packs}
    young_bases = {base for each in lists if each.time > due for base in each.bases}
    old_packs = {pack for each in old for pack in each.packs} & loose_packs
    old_bases = {base for each in old for base in each.bases} & loose_bases
    fresh_packs = loose_packs - old_packs - young_packs
    fresh_bases = loose_bases - old_bases - young_bases
    busy_packs: set[str] = set()
    if since is not None and settings.grace:
        made = area.modified(pack_name(pack) for pack in fresh_packs)
        busy_packs = {parse_pack_name(name) for name, time in made.items() if time >= since}
        fresh_packs -= busy_packs
        fresh_bases.clear()  # a base's time is that of its ZFS snapshot, which may be older than the run
    return PrunePlan(
        packs=len(there),
        size=sum(there.values()),
        unused=sum(use.unused for use in uses),
        delete_packs=tuple(sorted(old_packs)),
        delete_size=sum(there[pack] for pack in old_packs),
        delete_bases=tuple(sorted(old_bases)),
        condemn_packs=tuple(sorted(fresh_packs)),
        condemn_size=sum(there[pack] for pack in fresh_packs),
        condemn_bases=tuple(sorted(fresh_bases)),
        busy_packs=len(busy_packs),
        rewrite=_worth_rewriting(session, [use for use in uses if use.pack in there], settings.max_unused),
        leftovers=tuple(sorted([*_superseded(session), *area.partials("")])),
        lists=(*(each.name for each in old), *over),
    )


def _worth_rewriting(session: Session, uses: list[PackUse], max_unused: float) -> tuple[PackUse, ...]:
    """Choose the packs with the largest unused share, until little enough is unused; ours only."""
    ours = {point.chain for point in session.catalog.points() if point.host == session.host}
    allowed = max_unused * sum(use.size for use in uses)
    unused = sum(use.unused for use in uses)
    chosen = []
    for use in sorted(uses, key=lambda use: use.unused / use.size, reverse=True):
        if unused <= allowed:
            break
        if use.chain in ours and use.unused:
            chosen.append(use)
            unused -= use.unused
    return tuple(chosen)


def _superseded(session: Session) -> set[str]:
    """Return the manifests that do not hold: of the catalog's, which was just brought up, all do.

    One that would hold instead of those is what a broken upload left; on another host's chain it may be new.
    """
    holding = set(session.catalog.manifests())
    ours = {point.chain for point in session.catalog.points() if point.host == session.host}
    names = {parse_manifest_name(name) for name in session.store.data.sizes("points")} - holding
    return {
        str(name)
        for name in names
        for other in holding
        if other.supersedes(name) or (name.chain in ours and name.supersedes(other))
    }


def execute_prune(session: Session, plan: PrunePlan) -> PruneReport:
    """Do what the plan says. Broken off, nothing is lost, and the next prune goes on.

    Raises RemoteError, also where the remote lets nothing be deleted; IntegrityError, ResticError.
    """
    area = session.store.data
    area.delete(plan.leftovers)
    lists, bases_locked = plan.lists, False
    if plan.delete_bases:
        try:
            session.restic.forget(plan.delete_bases, prune=True)
        except LockedError:  # another host makes a base, which may take days; a later prune finds the lists
            lists, bases_locked = (), True
    with session.progress("deleting", len(plan.delete_packs), unit="packs") as bar:
        for pack in plan.delete_packs:
            area.delete([pack_name(pack)])
            bar.advance(1)
    area.delete(lists)
    written, damaged = repack(session, plan.rewrite)
    with session.catalog.upkeep() as upkeep:
        named = {use.pack for use in upkeep.packs()}
    rewritten = [use for use in plan.rewrite if use.pack not in named]
    packs = frozenset([*plan.condemn_packs, *(use.pack for use in rewritten)])
    if packs or plan.condemn_bases:
        condemn(area, packs, frozenset(plan.condemn_bases))
    return PruneReport(
        deleted=plan.delete_size,
        rewritten_from=sum(use.size for use in rewritten),
        rewritten_to=written,
        damaged=damaged,
        bases_locked=bases_locked,
    )
