"""The run record: whatever ends a run, what became of each dataset is on record."""

import os
import subprocess
import sys
from contextlib import nullcontext, suppress

import pytest

from zdiffsync.backup.report import PointReport, RunReport
from zdiffsync.backup.session import DatasetPlan
from zdiffsync.errors import CatalogError, ExitCode, RemoteError
from zdiffsync.maintain.run_record import REMEMBERED, killed, load_record
from zdiffsync.maintain.run_recorder import RunRecorder
from zdiffsync.maintain.run_stage import StageFile, load_stage
from zdiffsync.model.progress import silent

PLANS = [DatasetPlan("tank/data"), DatasetPlan("tank/vm", recursive=True)]


def point(dataset):
    return PointReport(
        dataset, "ab" * 8, "increment", f"{dataset}@one", 1, skipped=[("a", "b")], certified=True
    )


def night(state, *points, error=None, failed=(), code=0, plans=PLANS):
    """Record one run; return what is on record then."""
    said = []
    with (
        suppress(type(error)) if error else nullcontext(),
        RunRecorder(state, plans, said.append) as recorder,
    ):
        recorder.report = RunReport()
        for name in points:
            recorder.report.points.append(point(name))
            recorder.update()
        recorder.report.failed += [(name, "no", ExitCode.TOOL) for name in failed]
        if error is not None:
            raise error
        recorder.code = code
    assert said == []
    return load_record(state)


def test_points_and_failures_are_counted_per_dataset(tmp_path):
    record = night(tmp_path, "tank/data", failed=["tank/vm/one"], code=4)
    assert (record.exit_code, record.failures, record.error) == (4, 1, None)
    assert record.datasets["tank/data"].last.point == "ab" * 8
    assert record.datasets["tank/data"].last.skipped == 1
    for count in 2, 3:
        record = night(tmp_path, "tank/data", failed=["tank/vm/one"], code=4)
        assert record.datasets["tank/vm/one"].failures == record.failures == count
    since = record.datasets["tank/vm/one"].attempts[0].at
    assert record.datasets["tank/vm/one"].failing_since == since
    record = night(tmp_path, "tank/data", "tank/vm/one")
    assert (record.failures, record.datasets["tank/vm/one"].failures) == (0, 0)
    assert record.datasets["tank/vm/one"].failing_since is None
    for _ in range(REMEMBERED):
        record = night(tmp_path, "tank/data")
    assert len(record.datasets["tank/data"].attempts) == REMEMBERED
    assert set(record.datasets) == {"tank/data"}  # the other one is no longer there


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (RemoteError("the line is dead"), 5, "the line is dead"),
        (KeyboardInterrupt(), 130, "interrupted; run it again to continue"),
        (ValueError("odd"), 1, "bug: ValueError: odd; run with -v and report it"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_ends_a_run_fails_the_datasets_it_had_not_come_to(tmp_path, error, code, message):
    night(tmp_path, "tank/data", "tank/vm", "tank/vm/one")
    record = night(tmp_path, "tank/data", error=error)
    assert (record.exit_code, record.error, record.finished is None) == (code, message, False)
    assert record.datasets["tank/data"].failures == 0
    for name in "tank/vm", "tank/vm/one":
        assert record.datasets[name].failures == 1
        assert record.datasets[name].last.message == message


def test_a_run_of_one_dataset_says_nothing_of_the_others(tmp_path):
    night(tmp_path, "tank/data", failed=["tank/vm"], code=4)
    record = night(tmp_path, "tank/data", plans=PLANS[:1])
    assert record.datasets["tank/vm"].failures == 1
    assert len(record.datasets["tank/data"].attempts) == 2


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from test_run_record import PLANS, point
from zdiffsync.backup.report import RunReport
from zdiffsync.maintain.run_recorder import RunRecorder
with RunRecorder(Path(sys.argv[1]), PLANS, print) as recorder:
    recorder.report = RunReport([point("tank/data")])
    recorder.update()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_stays_open_and_counts_as_a_failure(tmp_path):
    night(tmp_path, "tank/data", "tank/vm")
    program = [sys.executable, "-c", KILLED, str(tmp_path), os.path.dirname(__file__), *sys.path]
    assert subprocess.run(program, check=False).returncode == -9
    record = load_record(tmp_path)
    assert record.is_open
    seen = killed(record)
    assert (seen.datasets["tank/data"].failures, seen.datasets["tank/vm"].failures) == (0, 1)
    assert "killed" in seen.error
    later = night(tmp_path, "tank/data", failed=["tank/vm"], code=4)
    assert (later.datasets["tank/data"].failures, later.datasets["tank/vm"].failures) == (0, 2)
    assert later.failures == 2


def test_a_record_that_cannot_be_read_or_written_fails_no_run(tmp_path):
    (tmp_path / "runs.json").write_bytes(b"")
    with pytest.raises(CatalogError, match=r"runs\.json"):
        load_record(tmp_path)
    assert night(tmp_path, "tank/data").datasets["tank/data"].last.outcome == "point"
    said = []
    (tmp_path / "a file").touch()
    with RunRecorder(tmp_path / "a file", PLANS, said.append):
        pass
    assert len(said) == 2


def test_what_a_run_is_doing_can_be_seen_from_outside(tmp_path):
    opened = []
    stage = StageFile(tmp_path, 7, lambda: opened.append(True))
    progress = stage.over(silent)
    with progress("reading", 100) as bar, progress("uploading") as other:
        bar.advance(30)
        other.expect(10)
        stage._next = 0.0
        bar.advance(20)
        shown = [(each.label, each.done, each.total) for each in load_stage(tmp_path, 7)]
        assert shown == [("reading", 50, 100), ("uploading", 0, 10)]
        assert load_stage(tmp_path, 8) == []
    assert len(opened) == 2
    stage.remove()
    assert load_stage(tmp_path, 7) == []
