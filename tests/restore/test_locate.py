"""What people type to name a point and a path."""

import time
from datetime import UTC, datetime

import pytest

from zdiffsync.catalog.catalog import Point
from zdiffsync.errors import ExitCode, UsageError
from zdiffsync.restore.locate import Location, as_of, find_point, locate, normalize


def point(key, dataset, when, label=None):
    created = datetime.fromisoformat(when).replace(tzinfo=UTC)
    return Point(
        id=int(key, 16), key=key, chain="c", chain_id=1, first=0, sequence=0, revision=0,
        dataset=dataset, dataset_guid=1, host="h",
        snapshot=f"{dataset}@{label or key}", guid=1, createtxg=1,
        created_ns=int(created.timestamp()) * 10**9, restic="r", base_ns=1, excludes="e",
        tags=(), keep=False, stats={},
    )  # fmt: skip


A = [
    point("aa11", "tank/a", "2026-11-20 03:00"),
    point("aa22", "tank/a", "2026-11-21 03:00"),
    point("bb33", "tank/a", "2026-11-22 03:00", "zdiffsync-x"),
]
B = [point("cc44", "tank/b", "2026-11-22 04:00")]
BOTH = [*A, *B]


@pytest.fixture(autouse=True)
def late(monkeypatch):
    """A clock on which all the points lie weeks back."""
    then = datetime(2027, 1, 15, tzinfo=UTC).timestamp()
    monkeypatch.setattr("zdiffsync.restore.moments.time", lambda: then)


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("latest", "bb33"), ("aa11", "aa11"), ("aa2", "aa22"), ("b", "bb33"),
        ("tank/a@latest", "bb33"), ("tank/a@zdiffsync-x", "bb33"), ("tank/a@aa11", "aa11"),
        ("tank/a@2026-11-21", "aa11"), ("tank/a@2026-11-21 03:00", "aa22"),
        ("tank/a@2026-11-21 02:59:59", "aa11"),
        ("tank/a@2026-11-21T03:00:00+00:00", "aa22"), ("tank/a@2026-11-21T03:00:00+01:00", "aa11"),
    ],
)  # fmt: skip
def test_found(name, key):
    assert find_point(A, name).key == key


@pytest.mark.parametrize(
    ("points", "name", "words"),
    [
        ([], "latest", "there are no restore points yet; make one with zdiffsync run"),
        (BOTH, "latest", "tank/a"),
        (BOTH, "aa", "aa11"),
        (BOTH, "", "zdiffsync points"),
        (BOTH, "zz", "zdiffsync points"),
        (BOTH, "none@latest", "there are no points of 'none'; there are of tank/a, tank/b"),
        (BOTH, "@latest", "there are no points of ''"),
        (BOTH, "tank/a@some day", "'some day' is no time; write it like '2026-11-23 18:00'"),
        (BOTH, "tank/a@", "'' is no time"),
        (
            BOTH,
            "tank/a@2026-11-19",
            "no point as old as 2026-11-19 00:00:00; see zdiffsync points tank/a",
        ),
        (BOTH, "tank/a@3030-01-01", "'3030-01-01' lies ahead: it is 3030-01-01 00:00:00"),
        (BOTH, "tank/a@in 3 days", "'in 3 days' lies ahead: it is "),
        (BOTH, "tank/a@3", "'3' is no time"),
        (BOTH, "tank/a@2026-13-01", "'2026-13-01' is no time"),
        (BOTH, "tank/a@0001-01-01", "'0001-01-01' is no time"),
        (BOTH, "tank/a@9999-12-31T23:59:59-12:00", "'9999-12-31T23:59:59-12:00' is no time"),
    ],
)
def test_not_found(points, name, words):
    with pytest.raises(UsageError) as caught:
        find_point(points, name)
    assert words in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


def test_an_ambiguous_prefix_names_its_points():
    with pytest.raises(UsageError, match=r"aa11.*aa22"):
        find_point(BOTH, "aa")
    many = [point(f"aa{number:02}", "tank/a", "2026-11-20 03:00") for number in range(30)]
    with pytest.raises(UsageError) as caught:
        find_point(many, "aa")
    assert len(str(caught.value)) < 300


def test_one_of_several_datasets_is_named_by_its_own_latest():
    assert find_point(BOTH, "tank/b@latest") == B[0]


@pytest.mark.parametrize(
    ("text", "key", "path"),
    [
        ("aa11", "aa11", b""), ("aa11:", "aa11", b""), ("aa11:/", "aa11", b""), ("aa11:a/b", "aa11", b"a/b"),
        ("aa11:/a//b/", "aa11", b"a/b"), ("aa11:./a/./b", "aa11", b"a/b"), ("aa11:a:b", "aa11", b"a:b"),
        ("aa11:\udcff", "aa11", b"\xff"), ("aa11: sp ", "aa11", b" sp "), ("aa11:a@b", "aa11", b"a@b"),
        ("tank/a@latest:x", "bb33", b"x"), ("tank/a@2026-11-21 03:00:x", "aa22", b"x"),
        ("tank/a@2026-11-21 03:00:10", "aa22", b""), ("tank/a@2026-11-21 03:00", "aa22", b""),
        ("tank/a@1 minute ago:x:10:30", "bb33", b"x:10:30"), ("tank/a@yesterday 18:00", "bb33", b""),
        ("tank/a@yesterday 18:00:x/y", "bb33", b"x/y"), ("tank/a@last monday at 6:30 pm:10", "bb33", b"10"),
        ("tank/a@zdiffsync-x:10:30", "bb33", b"10:30"), ("tank/a@latest:10:30", "bb33", b"10:30"),
        ("tank/a@2026-11-21T03:00:00+00:00:x/y", "aa22", b"x/y"), ("tank/a@2026-11-21:x", "aa11", b"x"),
    ],
)  # fmt: skip
def test_point_and_path(text, key, path):
    found = locate(A, text)
    assert (found.point.key, found.path) == (key, path)
    assert isinstance(found, Location)


def test_a_colon_in_a_dataset():
    odd = point("dd55", "tank/a:b", "2026-11-20 03:00")
    assert locate([odd], "tank/a:b@latest:c@d:e") == Location(odd, b"c@d:e")
    assert locate([odd], "dd55:tank/a:b@latest") == Location(odd, b"tank/a:b@latest")


@pytest.mark.parametrize("path", ["..", "../a", "a/../../b", "a/..", "/.."])
def test_a_path_does_not_lead_out(path):
    with pytest.raises(UsageError, match="leads out of the dataset"):
        normalize(path)


def test_dots_that_are_names():
    assert normalize("...") == b"..."
    assert normalize("..a/b..") == b"..a/b.."


@pytest.mark.parametrize(
    ("text", "when", "found"),
    [
        ("tank/a:x/y", "2026-11-21 12:00", ("aa22", b"x/y")),
        ("tank/a", "2026-11-20 03:00", ("aa11", b"")),
        ("tank/b:x", "1 hour ago", ("cc44", b"x")),
        ("tank/a:/x:y", "latest", ("bb33", b"x:y")),
    ],
)
def test_as_of(text, when, found):
    where = as_of(BOTH, text, when)
    assert (where.point.key, where.path) == found


def test_as_of_in_the_only_dataset():
    where = as_of(A, "x:y", "2026-11-21 12:00")
    assert (where, where.moment) == (Location(A[1], b"x:y"), datetime(2026, 11, 21, 12, tzinfo=UTC))
    with pytest.raises(UsageError, match=r"'x' of which dataset.*tank/a:x, tank/b:x"):
        as_of(BOTH, "x", "latest")
    with pytest.raises(UsageError, match="no restore points yet"):
        as_of([], "x", "latest")
