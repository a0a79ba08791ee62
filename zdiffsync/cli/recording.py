"""What `run` leaves for `status` and monitoring: the run record, what it is doing meanwhile, and metrics.

Around the body of `run`, inside of its lock. Rule: a dry run leaves nothing, and nothing here fails a run.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from zdiffsync.backup.report import RunReport
from zdiffsync.backup.session import DatasetPlan, Session
from zdiffsync.cli.context import App
from zdiffsync.config.looking import look_of
from zdiffsync.errors import RemoteError, ZdiffsyncError
from zdiffsync.maintain.remote_size import is_due, measure
from zdiffsync.maintain.run_recorder import RunRecorder
from zdiffsync.maintain.run_stage import StageFile
from zdiffsync.maintain.status_look import look_at


class Recording:
    """Notes one run; with `recorder` None (a dry run) nothing."""

    def __init__(self, recorder: RunRecorder | None, stage: StageFile | None) -> None:
        self._recorder, self._stage = recorder, stage

    def watched(self, session: Session) -> Session:
        """Return the session with progress that is noted, too."""
        if self._stage is None:
            return session
        return replace(session, progress=self._stage.over(session.progress))

    def follow(self, report: RunReport) -> None:
        """Read from `report`, while it grows, what becomes of the datasets."""
        if self._recorder is not None:
            self._recorder.report = report

    def measure(self, session: Session) -> None:
        """Note how much lies on the remote now, where that is not known well enough."""
        recorder = self._recorder
        if recorder is None:
            return
        now, packed = int(time.time()), sum(pack.size for pack in session.catalog.packs())
        made = recorder.report.points if recorder.report else ()
        if is_due(recorder.remote, packed, now) or any(point.kind == "base" for point in made):
            with suppress(RemoteError), session.progress("measuring", unit="objects"):
                recorder.remote = measure(session.store.plain, packed, now)

    def ends(self, code: int) -> None:
        """Note the exit code the run is about to end with."""
        if self._recorder is not None:
            self._recorder.code = code


@contextmanager
def recording(app: App, plans: Sequence[DatasetPlan], *, dry_run: bool) -> Iterator[Recording]:
    """Record the run that is the body, however it ends; then write the metrics."""
    if dry_run:
        yield Recording(None, None)
        return
    try:
        with RunRecorder(app.config.state, plans, lambda text: _complain(app, text)) as recorder:
            stage = StageFile(app.config.state, os.getpid(), recorder.update)
            try:
                yield Recording(recorder, stage)
            finally:
                stage.remove()
    finally:
        _write_metrics(app)


def _write_metrics(app: App) -> None:
    if app.config.metrics_file is None:
        return
    from zdiffsync.maintain.metrics import write_metrics  # noqa: PLC0415 - most have none

    path, now_ns = Path(app.config.metrics_file), time.time_ns()
    try:
        statuses = {}
        for name in replace(app, repo=None).configs:
            one = replace(app, repo=name or None)
            with one.catalog() as catalog:
                statuses[name] = look_at(look_of(one.config), catalog, now_ns, ask_zfs=False)
        write_metrics(path, statuses)
    except (OSError, ZdiffsyncError) as error:
        _complain(app, f"the metrics could not be written to {path}: {getattr(error, 'strerror', error)}")


def _complain(app: App, text: str) -> None:
    app.complain(f"zdiffsync: {text}")
