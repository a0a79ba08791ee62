"""Recording a run: that it began, before anything else; what became of each dataset; how it ended.

A context manager around the whole of `run`, inside of its lock. Rule: nothing escapes the record (an error,
a bug, Ctrl-C; of a kill -9 the open record tells), and the record never fails a run.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, time
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from zdiffsync import __version__
from zdiffsync.backup.report import PointReport, RunReport
from zdiffsync.backup.session import DatasetPlan
from zdiffsync.errors import CatalogError, ExitCode, explained
from zdiffsync.maintain.run_record import (
    Attempt,
    Planned,
    RemoteSize,
    RunRecord,
    added,
    closed,
    killed,
    load_record,
    save_record,
)


class RunRecorder:
    """Keeps the record of one run in the folder `state`; `record` is what is on record now.

    `report` is to be set once there is one and is read while it grows, `code` is the exit code the run is
    about to end with, `remote` the size of the remote as it was measured last. `complain` is told in one
    sentence when the record cannot be written.
    """

    def __init__(self, state: Path, plans: Sequence[DatasetPlan], complain: Callable[[str], None]) -> None:
        self.report: RunReport | None = None
        self.code = int(ExitCode.BUG)
        self.remote: RemoteSize | None = None
        self.record = RunRecord()
        self._state, self._complain = state, complain
        self._planned = tuple(Planned(plan.name, plan.recursive) for plan in plans)
        self._began, self._noted = 0.0, 0

    def __enter__(self) -> Self:
        try:
            before = load_record(self._state)
        except CatalogError:
            before = RunRecord()
        if before.is_open:
            before = killed(before)
        self._began, self.remote = monotonic(), before.remote
        started = max(int(time()), before.started + 1)  # runs are told apart by it, also after a clock change
        self._save(
            replace(
                before, version=__version__, pid=os.getpid(), started=started, finished=None, seconds=0.0,
                exit_code=None, error=None, planned=self._planned, left_over=(),
            )
        )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        message, code = (None, self.code) if error is None else explained(error)
        record = replace(
            self.record, finished=int(time()), seconds=round(monotonic() - self._began, 1),
            remote=self.remote, left_over=tuple(self.report.left_over) if self.report else (),
        )  # fmt: skip
        self._save(closed(record, _attempts(self.report, record.started), code, message))

    def update(self) -> None:
        """Put on record what has become of datasets by now; does nothing when nothing has."""
        attempts = _attempts(self.report, self.record.started)
        if len(attempts) != self._noted:
            self._noted = len(attempts)
            self._save(replace(self.record, datasets=added(self.record.datasets, attempts)))

    def _save(self, record: RunRecord) -> None:
        self.record = record
        try:
            save_record(self._state, record)
        except OSError as error:
            self._complain(f"the run record in {self._state} could not be written: {error.strerror}")


def _attempts(report: RunReport | None, at: int) -> dict[str, Attempt]:
    """Return what became of each dataset; what came last counts, as the new point after a resumed one."""
    if report is None:
        return {}
    found = {each.dataset: Attempt(at=at, outcome="nothing_new") for each in report.nothing_new}
    found |= {point.dataset: _point(point, at) for point in report.points}
    for name, reason in report.not_covered:
        found[name] = Attempt(at=at, outcome="not_covered", message=reason)
    for stopped in report.tripped:
        found[stopped.dataset] = Attempt(at=at, outcome="tripped", message=str(stopped.finding))
    for name, reason, _code in report.failed:
        found[name] = Attempt(at=at, outcome="failed", message=reason)
    return found


def _point(point: PointReport, at: int) -> Attempt:
    changed = point.created + point.modified + point.metadata_only
    return Attempt(
        at=at, outcome="point", point=point.point, skipped=len(point.skipped), misses=len(point.misses),
        fallback=point.fallback, uncertified=point.uncertified_because,
        uploaded=point.uploaded_bytes + point.manifest_bytes, changed=changed,
    )  # fmt: skip
