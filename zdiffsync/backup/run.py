"""The nightly run: every configured dataset gets a new point.

lock (by the caller) -> snapshot and hold (backup.snapshots) -> base or increment -> commit -> release the old
hold. Rule: the snapshot of the last point is held until the next point is committed.
"""

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from time import monotonic

from zdiffsync.backup.base import make_base, preview_base
from zdiffsync.backup.choice import Choice, choose, choose_again
from zdiffsync.backup.detect import Step
from zdiffsync.backup.excludes import Excludes
from zdiffsync.backup.increment import make_increment, preview_increment
from zdiffsync.backup.report import NothingNew, RunReport, Stopped
from zdiffsync.backup.session import DatasetPlan, Session
from zdiffsync.backup.snapshots import Snapshots, last_points
from zdiffsync.backup.sync import sync_catalog
from zdiffsync.backup.tripped import Tripped
from zdiffsync.backup.tripwire import Finding, UnusualChangesError
from zdiffsync.catalog.catalog import Point
from zdiffsync.catalog.journal import UnfinishedRun
from zdiffsync.errors import CatalogError, ExitCode, RemoteError, ZdiffsyncError
from zdiffsync.external import zfs
from zdiffsync.format.manifest import Header
from zdiffsync.model.progress import Progress
from zdiffsync.store.working import WorkMark


class NightlyRun:
    """One run over all planned datasets; with `accept` without the tripwire.

    Its points get `tags`, and `keep` so that no policy forgets them.
    """

    def __init__(
        self,
        session: Session,
        *,
        force_base: bool = False,
        accept: bool = False,
        tags: tuple[str, ...] = (),
        keep: bool = False,
    ) -> None:
        self._session = session
        self._force_base, self._accept = force_base, accept
        self._tags, self._keep = tags, keep
        self._tripped = Tripped(session.settings.state)
        self._report = RunReport()
        self._snapshots = Snapshots(session, self._report.left_over)

    @property
    def report(self) -> RunReport:
        """What has become of the datasets so far."""
        return self._report

    def run(self, plans: Sequence[DatasetPlan]) -> RunReport:
        """Make a point of every dataset. A dataset that fails is reported and the others go on.

        Raises RemoteError, CatalogError and IntegrityError, which no dataset can do without.
        """
        started = monotonic()
        sync_catalog(self._session.store.data, self._session.catalog, self._session.progress)
        mark = WorkMark(self._session.store.data, self._session.settings.state)
        mark.begin()
        with self._session.progress("datasets", unit="datasets") as bar:
            for plan in plans:
                self._plan(plan, self._dataset, bar)
        if not self._session.catalog.journal.under_way():
            mark.end()
        self._report.seconds = monotonic() - started
        return self._report

    def preview(self, plans: Sequence[DatasetPlan]) -> RunReport:
        """Find out what a run would do; takes a snapshot for it and destroys it again."""
        started = monotonic()
        with self._session.progress("datasets", unit="datasets") as bar:
            for plan in plans:
                self._plan(plan, self._preview, bar)
        self._report.seconds = monotonic() - started
        return self._report

    def _plan(
        self, plan: DatasetPlan, make: Callable[[zfs.Dataset, zfs.Snapshot, DatasetPlan], None], bar: Progress
    ) -> None:
        with self._failures_of(plan.name):
            covered = self._covered(plan)
            if make == self._dataset:
                for dataset in covered:
                    bar.note(dataset.name)
                    with self._failures_of(dataset.name):
                        self._finish_interrupted(dataset, plan.excludes)
            taken = self._found(covered, plan) if plan.snapshots else self._snapshots.take(covered)
            if make == self._dataset:
                self._tidy_others(covered, taken)
            for dataset, snapshot in taken:
                bar.note(dataset.name)
                with self._failures_of(dataset.name):
                    make(dataset, snapshot, plan)
                bar.advance(1)

    @contextmanager
    def _failures_of(self, dataset: str) -> Iterator[None]:
        """Let one dataset fail without the others; what concerns all of them is raised."""
        try:
            yield
        except (RemoteError, CatalogError):
            raise
        except ZdiffsyncError as error:
            self._report.failed.append((dataset, str(error), error.exit_code))
        except PermissionError as error:
            name = os.fsdecode(error.filename) if error.filename else "the snapshot"
            advice = "run as root, or see docs/permissions.md"
            self._report.failed.append(
                (dataset, f"cannot read {name}: {error.strerror}; {advice}", ExitCode.TOOL)
            )

    def _covered(self, plan: DatasetPlan) -> list[zfs.Dataset]:
        covered = []
        for dataset in zfs.datasets(plan.name, recursive=plan.recursive):
            if (reason := dataset.uncovered_reason) is None:
                covered.append(dataset)
            else:
                self._report.not_covered.append((dataset.name, reason))
        return covered

    def _found(
        self, covered: Sequence[zfs.Dataset], plan: DatasetPlan
    ) -> list[tuple[zfs.Dataset, zfs.Snapshot]]:
        """Hold the newest snapshots another tool has taken, of the datasets that have one not backed up."""
        found = []
        for dataset in covered:
            with self._failures_of(dataset.name):
                newest = self._snapshots.newest(dataset, plan.snapshots)
                last = self._last_point(dataset)
                if newest is None:
                    patterns = " or ".join(map(repr, plan.snapshots))
                    self._report.not_covered.append((dataset.name, f"has no snapshot named {patterns}"))
                elif last is not None and newest.createtxg <= last.createtxg:
                    self._report.nothing_new.append(NothingNew(dataset.name, newest.name, last.key))
                else:
                    self._snapshots.hold(newest)
                    found.append((dataset, newest))
        return found

    def _tidy_others(
        self, covered: Sequence[zfs.Dataset], taken: Sequence[tuple[zfs.Dataset, zfs.Snapshot]]
    ) -> None:
        done = {dataset.guid for dataset, _ in taken}
        for dataset in covered:
            if dataset.guid not in done:
                with self._failures_of(dataset.name):
                    self._snapshots.tidy(dataset)

    def _dataset(self, dataset: zfs.Dataset, snapshot: zfs.Snapshot, plan: DatasetPlan) -> None:
        choice = self._choose(dataset, snapshot, plan.excludes)
        run = UnfinishedRun(
            dataset.name, choice.chain, choice.sequence, snapshot.name, snapshot.guid,
            choice.parent.guid if choice.parent else None,
        )  # fmt: skip
        self._session.catalog.journal.begin(run)
        try:
            self._point(dataset, snapshot, plan.excludes, choice, accepted=self._accepts(dataset))
        except UnusualChangesError as error:
            self._tripped.add(dataset.name, str(error), plan.name)
            self._stopped(dataset, plan, error.finding)
            self._session.catalog.journal.clear(dataset.name)
            self._snapshots.tidy(dataset)

    def _stopped(self, dataset: zfs.Dataset, plan: DatasetPlan, finding: Finding) -> None:
        last = self._last_point(dataset)
        assert last is not None, "a first point has no changes"
        self._report.tripped.append(
            Stopped(dataset.name, plan.name, finding, last.key, last.snapshot, last.created_ns)
        )

    def _preview(self, dataset: zfs.Dataset, snapshot: zfs.Snapshot, plan: DatasetPlan) -> None:
        try:
            choice = self._choose(dataset, snapshot, plan.excludes)
            header = self._header(dataset, snapshot, plan.excludes, choice)
            if choice.parent is None or choice.last is None:
                report, finding = preview_base(self._session, header, snapshot, plan.excludes, choice)
            else:
                step = Step(header, choice.last, choice.parent, snapshot, plan.excludes)
                report, finding = preview_increment(self._session, step)
            self._report.points.append(report)
            if finding is not None and not self._accepts(dataset):
                self._stopped(dataset, plan, finding)
        finally:
            self._snapshots.forgo(dataset, snapshot)

    def _choose(self, dataset: zfs.Dataset, snapshot: zfs.Snapshot, excludes: Excludes) -> Choice:
        last = self._last_point(dataset)
        now_ns = snapshot.created * 10**9
        return choose(self._session, dataset, last, excludes, now_ns=now_ns, force=self._force_base)

    def _finish_interrupted(self, dataset: zfs.Dataset, excludes: Excludes) -> None:
        """Commit what a broken-off run of this dataset had begun, if its snapshots are still there."""
        run = self._session.catalog.journal.unfinished(dataset.name)
        last = self._last_point(dataset)
        if run is not None and not (last and last.guid == run.guid):
            snapshot = zfs.find_snapshot(dataset.name, run.guid)
            choice = choose_again(dataset.name, last, run)
            # What had begun to upload is past the tripwire, or was accepted.
            accepted = self._accept or run.restic is not None
            accepted = accepted or bool(self._session.catalog.journal.done(dataset.name)[0])
            if snapshot is not None and choice.resumes(run):
                with suppress(UnusualChangesError):  # the snapshot to come is asked the same
                    self._point(dataset, snapshot, excludes, choice, accepted=accepted)
        if run is not None:
            self._session.catalog.journal.clear(dataset.name)
            self._snapshots.tidy(dataset)

    def _point(
        self,
        dataset: zfs.Dataset,
        snapshot: zfs.Snapshot,
        excludes: Excludes,
        choice: Choice,
        *,
        accepted: bool,
    ) -> None:
        header = self._header(dataset, snapshot, excludes, choice)
        if choice.parent is None or choice.last is None:
            report = make_base(self._session, header, snapshot, excludes, choice, accepted=accepted)
        else:
            step = Step(header, choice.last, choice.parent, snapshot, excludes)
            made = make_increment(self._session, step, accepted=accepted)
            report = replace(made, reason=choice.reason)
        self._report.points.append(report)
        self._tripped.clear(dataset.name)
        self._snapshots.tidy(dataset)

    def _header(
        self, dataset: zfs.Dataset, snapshot: zfs.Snapshot, excludes: Excludes, choice: Choice
    ) -> Header:
        return Header(
            repository=self._session.repository, chain=choice.chain, sequence=choice.sequence,
            point=secrets.token_hex(8), dataset=dataset.name, dataset_guid=dataset.guid,
            first=choice.sequence, host=self._session.host, snapshot=snapshot.name, guid=snapshot.guid,
            createtxg=snapshot.createtxg, created_ns=snapshot.created * 10**9,
            parent_guid=choice.parent.guid if choice.parent else None, restic=None,
            base_ns=None if choice.sequence else snapshot.created * 10**9, excludes=excludes.digest,
            tags=self._tags, keep=self._keep,
        )  # fmt: skip

    def _accepts(self, dataset: zfs.Dataset) -> bool:
        return self._accept or self._last_point(dataset) is None  # a first point has no changes

    def _last_point(self, dataset: zfs.Dataset) -> Point | None:
        points = self._session.catalog.points_of(dataset.guid, self._session.host)
        return last_points(points).get(dataset.guid)
