"""What `run` leaves for `status` and monitoring: the run record, and what it is doing while it does it.

Around the body of `run`, inside of its lock. Rule: a dry run leaves nothing.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from zdiffsync.backup.report import RunReport
from zdiffsync.backup.session import DatasetPlan, Session
from zdiffsync.cli.context import App
from zdiffsync.maintain.run_recorder import RunRecorder
from zdiffsync.maintain.run_stage import StageFile


class Recording:
    """Notes one run; with `recorder` None (a dry run) nothing."""

    def __init__(self, recorder: RunRecorder | None, stage: StageFile | None) -> None:
        self._recorder, self._stage = recorder, stage

    def watched(self, session: Session) -> Session:
        """Return the session with progress that is noted, too."""
        return (
            session if self._stage is None else replace(session, progress=self._stage.over(session.progress))
        )

    def follow(self, report: RunReport) -> None:
        """Read from `report`, while it grows, what becomes of the datasets."""
        if self._recorder is not None:
            self._recorder.report = report

    def ends(self, code: int) -> int:
        """Note the exit code the run is about to end with, and return it."""
        if self._recorder is not None:
            self._recorder.code = code
        return code


@contextmanager
def recording(app: App, plans: Sequence[DatasetPlan], *, dry_run: bool) -> Iterator[Recording]:
    """Record the run that is the body, however it ends."""
    if dry_run:
        yield Recording(None, None)
        return
    with RunRecorder(app.config.state, plans, lambda text: app.complain(f"zdiffsync: {text}")) as recorder:
        stage = StageFile(app.config.state, os.getpid(), recorder.update)
        try:
            yield Recording(recorder, stage)
        finally:
            stage.remove()
