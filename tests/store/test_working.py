"""Marks of runs under way: one for each host, over when its run is, or when it is too old to be believed."""

from datetime import UTC, datetime, timedelta

import pytest

from zdiffsync.store import working
from zdiffsync.store.secret import Secret
from zdiffsync.store.store import Store
from zdiffsync.store.working import WorkMark, read_marks


@pytest.fixture
def area(tmp_path):
    with Store(str(tmp_path / "remote"), Secret(b"p"), "0" * 32) as store:
        yield store.data


@pytest.fixture
def clock(monkeypatch):
    """The time; it can be set."""

    class Clock(datetime):
        time = datetime(2026, 11, 24, 2, 0, 5, 999, tzinfo=UTC)

        @classmethod
        def now(cls, tz=None):
            assert tz is UTC
            return cls.time

    monkeypatch.setattr(working, "datetime", Clock)
    return Clock


def test_a_mark_serves_on_until_its_run_has_committed(area, tmp_path, clock):
    assert read_marks(area) == (None, ())
    mine, other = (WorkMark(area, tmp_path / name) for name in ("one", "other"))
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    mine.begin()
    since = datetime(2026, 11, 24, 1, 0, 5, tzinfo=UTC)
    clock.time += timedelta(hours=30)
    mine.begin()
    other.begin()
    assert read_marks(area) == (since, ())
    mine.end()
    mine.end()
    assert read_marks(area) == (since + timedelta(hours=30), ())
    assert not list((tmp_path / "one").iterdir())


def test_one_that_a_dead_machine_left_does_not_count_for_ever(area, tmp_path, clock):
    mark = WorkMark(area, tmp_path)
    mark.begin()
    (left,) = area.sizes("working")
    clock.time += timedelta(days=31)
    assert read_marks(area) == (None, (left,))
    mark.begin()
    since, over = read_marks(area)
    assert (since, over) == (clock.time.replace(microsecond=0) - timedelta(hours=1), (left,))


def test_names_that_are_no_marks_count_for_nothing(area, tmp_path, clock):  # noqa: ARG001 - the time stands still
    area.put("working/20261399T000000Z-00000000", b"x")
    area.put("working/note", b"x")
    (tmp_path / "working").write_text("../../x")
    WorkMark(area, tmp_path).begin()
    assert len(area.sizes("working")) == 3
    assert read_marks(area)[1] == ()
