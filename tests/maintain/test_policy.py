"""What `forget` keeps: each rule alone, and our two rules on top of restic's."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_points import SECOND, Point, local_zone

from zdiffsync.maintain.duration import Duration
from zdiffsync.maintain.policy import UNLIMITED, KeepRules, decide, wanted

NOW = 1_900_000_000 * SECOND


@pytest.fixture(autouse=True)
def berlin():
    with local_zone("Europe/Berlin"):
        yield


def at(text, *tags, keep=False):
    """A point made at this local time (UTC where it ends in Z)."""
    return Point(int(datetime.fromisoformat(text).timestamp()) * SECOND, tags, keep)


def every(step, count, start="2024-01-01 12:00"):
    first = datetime.fromisoformat(start)
    return [at((first + number * step).isoformat()) for number in range(count)]


def kept(points, **rules):
    """Positions of the points that restic's rules keep, and why."""
    found = wanted(points, KeepRules(**rules), now_ns=NOW)
    return {number: reasons for number, reasons in enumerate(found) if reasons}


HOURS, DAYS = every(timedelta(hours=1), 100), every(timedelta(days=1), 100)
WEEKS, MONTHS = every(timedelta(weeks=1), 100), every(timedelta(days=31), 100)
YEARS = every(timedelta(days=366), 20, "2000-01-01 12:00")


def test_last_counts_points():
    assert kept(HOURS, last=2) == {98: ["last point"], 99: ["last point"]}
    assert kept(HOURS[:3], last=7).keys() == {0, 1, 2}


@pytest.mark.parametrize(
    ("rule", "points"),
    [("hourly", HOURS), ("daily", DAYS), ("weekly", WEEKS), ("monthly", MONTHS), ("yearly", YEARS)],
)
def test_a_count_keeps_the_newest_point_of_so_many_periods(rule, points):
    doubled = [Point(point.created_ns + extra) for point in points for extra in (0, 60 * SECOND)]
    last = len(doubled) - 1
    assert kept(doubled, **{rule: 3}) == {number: [f"{rule} point"] for number in (last - 4, last - 2, last)}
    everything = kept(doubled, **{rule: UNLIMITED})
    assert everything == {number: [f"{rule} point"] for number in range(1, last + 1, 2)} | {
        0: [f"oldest {rule} point"]
    }


def test_periods_without_a_point_are_not_counted():
    points = [at("2020-01-05"), at("2022-06-01"), at("2024-03-03")]
    assert kept(points, daily=3).keys() == {0, 1, 2}


def test_the_oldest_point_stays_while_a_count_is_not_used_up():
    points = [at("2024-05-01 08:00"), at("2024-05-01 09:00"), at("2024-05-01 10:00"), at("2024-05-02 10:00")]
    assert kept(points, daily=2).keys() == {2, 3}
    assert kept(points, daily=3) == {0: ["oldest daily point"], 2: ["daily point"], 3: ["daily point"]}
    assert kept(points[:3], within_daily=Duration(days=1)) == {
        0: ["oldest daily within 1d"], 2: ["daily within 1d"],
    }  # fmt: skip


def test_weeks_are_those_of_iso_8601():
    points = [at("2024-12-29 12:00"), at("2024-12-30 12:00"), at("2025-01-05 12:00"), at("2025-01-06 12:00")]
    assert kept(points, weekly=3).keys() == {0, 2, 3}
    assert kept(points, yearly=2).keys() == {1, 3}


def test_days_are_those_of_local_time():
    points = [at("2024-06-30 21:30Z"), at("2024-06-30 22:30Z"), at("2024-07-01 12:00Z")]
    assert kept(points, daily=2).keys() == {0, 2}
    with local_zone("UTC"):
        assert kept(points, daily=2).keys() == {1, 2}


def test_an_hour_that_the_clocks_repeat_is_one_hour():
    points = [at("2024-10-26 12:00Z"), at("2024-10-27 00:30Z"), at("2024-10-27 01:30Z")]
    assert kept(points, hourly=2) == {0: ["hourly point"], 2: ["hourly point"]}


def test_within_counts_back_from_the_newest_point_and_leaves_out_the_very_moment():
    points = [at("2024-01-31 12:00"), at("2024-01-31 12:01"), at("2024-03-01 12:00")]
    assert kept(points, within=Duration(days=30)) == {1: ["within 30d"], 2: ["within 30d"]}
    assert kept(points, within=Duration(months=1)).keys() == {2}
    assert kept(points, within=Duration(months=1, days=1)) == {1: ["within 1m1d"], 2: ["within 1m1d"]}


def test_a_point_from_the_future_is_not_what_durations_are_counted_from():
    points = [at("2024-01-01"), at("2024-03-01"), at("2099-01-01")]
    assert kept(points, within=Duration(days=7)).keys() == {1, 2}
    assert kept(points[2:], within=Duration(days=7)).keys() == {0}


def test_a_point_needs_all_tags_of_one_list():
    points = [at("2024-01-01"), at("2024-01-02", "a"), at("2024-01-03", "b", "a"), at("2024-01-04", "c")]
    assert kept(points, tags=(("a", "b"), ("c",))) == {2: ["has tags [a, b]"], 3: ["has tags [c]"]}
    assert kept(points, tags=(("",),)) == {0: ["has tags []"]}


def test_a_point_stays_for_all_its_reasons():
    rules = {"yearly": 1, "last": 1, "within_daily": Duration(days=1), "within": Duration(hours=1)}
    assert kept([at("2024-01-01", "a")], tags=(("a",),), **rules) == {
        0: ["has tags [a]", "within 1h", "last point", "yearly point", "daily within 1d"]
    }


def test_pinned_points_and_the_newest_stay_whatever_the_rules():
    points = [at("2024-01-01"), at("2024-01-02", keep=True), at("2024-01-03"), at("2024-01-04")]
    decisions = decide(points, KeepRules(tags=(("none",),)), now_ns=NOW)
    assert [decision.point for decision in decisions] == points
    assert [decision.kept for decision in decisions] == [False, True, False, True]
    assert [decision.reasons for decision in decisions] == [(), ("pinned",), (), ("newest",)]
    pinned = decide([at("2024-01-01", keep=True)], KeepRules(last=1), now_ns=NOW)
    assert pinned[0].reasons == ("pinned", "newest", "last point")


def test_the_newest_is_the_last_one_made_even_when_the_clock_was_wrong():
    points = [at("2024-01-01"), at("2024-01-03"), at("2024-01-02")]
    reasons = [decision.reasons for decision in decide(points, KeepRules(last=1), now_ns=NOW)]
    assert reasons == [(), ("last point",), ("newest",)]


@pytest.mark.parametrize("rules", [KeepRules(), KeepRules(last=0, within=Duration())])
def test_no_rules_keep_everything(rules):
    assert rules.empty
    assert all(decision.kept for decision in decide(DAYS, rules, now_ns=NOW))
    assert not any(wanted(DAYS, rules, now_ns=NOW))


def test_no_points_need_no_decision():
    assert decide([], KeepRules(last=1), now_ns=NOW) == []


@given(st.randoms(), st.integers(0, 5), st.integers(0, 5))
def test_the_order_the_points_are_given_in_changes_nothing_for_the_rules(shuffler, daily, last):
    points = DAYS[:10] + HOURS[:10]
    points = list({point.created_ns: point for point in points}.values())
    mixed = shuffler.sample(points, len(points))
    rules = KeepRules(daily=daily, last=last, within_hourly=Duration(days=3))
    assert dict(zip(points, wanted(points, rules, now_ns=NOW), strict=True)) == dict(
        zip(mixed, wanted(mixed, rules, now_ns=NOW), strict=True)
    )


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("1y5m7d2h", Duration(1, 5, 7, 2)), ("2h1y", Duration(years=1, hours=2)), ("14d", Duration(days=14)),
        ("0d", Duration()),
    ],
)  # fmt: skip
def test_durations_are_read_as_restic_writes_them(text, duration):
    assert Duration.parse(text) == duration
    assert Duration.parse(str(duration) or "0h") == duration


@pytest.mark.parametrize("text", ["", "5", "d", "2w", "1d 2h", "1d2d", "-1d", "1.5d", "1D", "d5", "1min"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match=r"is no duration; write it like '1y5m7d2h'"):
        Duration.parse(text)


@pytest.mark.parametrize(
    ("text", "moment", "before"),
    [
        ("1m", "2024-03-31 12:00", "2024-03-02 12:00"),  # 31 February
        ("1y", "2024-02-29 12:00", "2023-03-01 12:00"),
        ("1d", "2024-04-01 12:00", "2024-03-31 12:00"),
        ("24h", "2024-03-31 12:00", "2024-03-30 11:00"),  # that day had 23 hours
        ("1d", "2024-04-01 02:30", "2024-03-31 03:30"),  # the clocks skipped it
        ("3m1h", "2024-01-01 00:30", "2023-09-30 23:30"),
    ],
)
def test_days_and_longer_follow_the_calendar(text, moment, before):
    assert Duration.parse(text).before(at(moment).created_ns + 5) == at(before).created_ns + 5


@pytest.mark.parametrize("text", ["2024y", "99999y", "9999999999999d", f"{10**30}y", f"{10**30}m"])
def test_a_duration_longer_than_the_calendar_reaches_back_to_all_points(text):
    points = [Point(0), at("2024-01-01")]
    assert kept(points, within=Duration.parse(text)).keys() == {0, 1}


def test_rules_are_read_as_people_write_them():
    values = {
        "last": 3,
        "daily": "7",
        "weekly": "unlimited",
        "hourly": None,
        "within": "1y",
        "tags": ["a, b", ""],
    }
    assert KeepRules.parse(values | {"tags": ["a, b", ""]}) == KeepRules(
        last=3, daily=7, weekly=UNLIMITED, within=Duration(years=1), tags=(("a", "b"), ("",))
    )
    with pytest.raises(ValueError, match=r"^within_daily: '2w' is no duration"):
        KeepRules.parse({"within_daily": "2w"})
