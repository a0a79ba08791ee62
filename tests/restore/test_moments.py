"""Times in words: what they mean, and that what means nothing is refused."""

import subprocess
import sys
import time
from datetime import datetime, timedelta

import pytest

from zdiffsync.errors import UsageError
from zdiffsync.restore.moments import moment, shown_time


@pytest.fixture(params=["UTC", "Europe/Berlin", "America/New_York"], autouse=True)
def zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "days", "clock"),
    [
        ("yesterday 18:00", 1, "18:00:00"), ("yesterday at 6 pm", 1, "18:00:00"),
        ("yesterday 07:30", 1, "07:30:00"), ("2 days ago 12:15", 2, "12:15:00"),
    ],
)  # fmt: skip
def test_days_and_clocks_are_local(text, days, clock):
    day = datetime.now().astimezone() - timedelta(days=days)
    assert shown_time(moment(text)) == f"{day:%Y-%m-%d} {clock}"


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("3 days ago", timedelta(days=3)), ("2 weeks ago", timedelta(weeks=2)),
        ("an hour ago", timedelta(hours=1)), ("90 minutes ago", timedelta(minutes=90)), ("now", timedelta()),
    ],
)  # fmt: skip
def test_spans_go_back_from_now(text, span):
    # By the calendar: three days ago is the same time of day, even if a clock was put back in between.
    expected = datetime.now().astimezone() - span
    slack = 3605 if span.days else 5
    assert abs((moment(text) - expected).total_seconds()) <= slack


@pytest.mark.parametrize("text", ["last monday", "monday", "last monday 18:00"])
def test_weekdays_are_past(text):
    found = moment(text)
    assert found.weekday() == 0
    assert timedelta() <= datetime.now().astimezone() - found < timedelta(days=8)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1",
        "12",
        "2026",
        "2026-13-01",
        "01/02/2026",
        "foo",
        "0001-01-01",
        "\udcff",
        "latest:",
        "x" * 500,
    ],
)
def test_what_is_no_time(text):
    with pytest.raises(UsageError, match="is no time"):
        moment(text)


@pytest.mark.parametrize("text", ["tomorrow", "in 3 days", "3030-01-01", "3030-01-01T00:00:00+02:00"])
def test_what_lies_ahead(text):
    with pytest.raises(UsageError, match="lies ahead: it is "):
        moment(text)


def test_a_clock_that_lags_keeps_nobody_from_the_points_there_are():
    ahead = datetime.now().astimezone() + timedelta(hours=3)
    upto = int(ahead.timestamp() * 1e9)
    assert moment(ahead.isoformat(), upto).replace(microsecond=0) == ahead.replace(microsecond=0)


def test_a_point_of_a_clock_ahead_is_found_by_the_very_microsecond_it_was_made():
    """Seen once: as a fraction of seconds the point's time came out a hair earlier than what was written."""
    when = datetime.now().astimezone() + timedelta(hours=3)
    for microsecond in range(0, 1_000_000, 997):
        written = when.replace(microsecond=microsecond)
        whole = int(written.timestamp())
        assert moment(written.isoformat(), whole * 10**9 + microsecond * 1000) == written


def test_iso_times_need_no_library():
    """A quick look must not wait for a large library."""
    code = (
        "import sys; from zdiffsync.restore.moments import moment; "
        "moment('2026-01-02'); sys.exit('dateparser' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
