"""An increment: what changed between the snapshot of the last point and a new one.

Rule: works from the two snapshots and the catalog's view of the last point; the base is never listed.
"""

from zdiffsync.backup.commit import Outcome, PointCommit
from zdiffsync.backup.contents import ContentStats
from zdiffsync.backup.detect import Step, detect
from zdiffsync.backup.point import PointStats
from zdiffsync.backup.report import PointReport, point_report
from zdiffsync.backup.session import Session
from zdiffsync.backup.since import weigh
from zdiffsync.backup.stopwatch import Stopwatch
from zdiffsync.backup.tripwire import Finding, UnusualChangesError
from zdiffsync.catalog.view import Node, PointView
from zdiffsync.external.tree import Identity


def make_increment(session: Session, step: Step, *, accepted: bool) -> PointReport:
    """Detect, store and commit one increment; unless `accepted`, only when nothing is unusual about it.

    Raises UnusualChangesError, ZfsError, RemoteError; nothing is committed then.
    """
    watch = Stopwatch()
    with step.trees() as (old, new), session.catalog.view(step.last) as view:
        changes = detect(session, step, (old, new), watch)
        since = weigh(session, changes, old, new, step.last.stats.get("files_total"))
        if not accepted and (finding := since.finding(session, step.header)) is not None:
            raise UnusualChangesError(finding)
        with session.catalog.holders() as holders:
            lost = holders.lost_in(step.last.chain_id)
        commit = PointCommit(
            session, step.header, old=old, new=new, view=view, base_path=BasePaths(view),
            last_numbers=session.catalog.last_numbers(step.last), lost=lost,
        )  # fmt: skip

        def report(outcome: Outcome) -> PointReport:
            seconds = watch.seconds | {"store": outcome.seconds}
            return point_report(step.header, changes.detection, outcome, seconds, **since.stats())

        return report(commit.commit(changes, lambda outcome: report(outcome).as_stats()))


def preview_increment(session: Session, step: Step) -> tuple[PointReport, Finding | None]:
    """Detect what an increment would hold, and what is unusual about it.

    Stores nothing and compares no contents.
    """
    watch = Stopwatch()
    with step.trees() as trees:
        changes = detect(session, step, trees, watch)
        since = weigh(session, changes, *trees, step.last.stats.get("files_total"))
    children = [child for names in changes.names.values() for child in names.values()]
    point = PointStats(
        created=sum(change.old_path is None for change in changes.objects),
        modified=sum(change.old_path is not None for change in changes.objects),
        names_added=sum(child is not None for child in children),
        names_removed=sum(child is None for child in children),
    )
    outcome = Outcome(point, ContentStats(), 0, 0.0)
    report = point_report(step.header, changes.detection, outcome, watch.seconds, **since.stats())
    return report, since.finding(session, step.header)


class BasePaths:
    """Finds the base path of an object from its path at the last point."""

    def __init__(self, view: PointView) -> None:
        self._view = view
        self._directory: tuple[bytes, Node | None] = b"", view.root()

    def __call__(self, identity: Identity, old_path: bytes | None) -> bytes | None:
        """Return it, None for what the overlay knows already and what the base does not have."""
        del identity
        node = None if old_path is None else self._node(old_path)
        return None if node is None or node.object is not None else node.base_path

    def _node(self, path: bytes) -> Node | None:
        if not path:
            return self._view.root()
        directory, _, name = path.rpartition(b"/")
        if directory != self._directory[0]:  # paths come in clusters
            self._directory = directory, self._view.resolve(directory)
        above = self._directory[1]
        return None if above is None else self._view.child(above, name)
