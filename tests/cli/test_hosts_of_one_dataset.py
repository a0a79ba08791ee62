"""Two hosts with datasets of one name in one repository: what a person types means this host's."""

import pytest

from zdiffsync.catalog.catalog import Point
from zdiffsync.cli.context import App
from zdiffsync.cli.location import located, point_named
from zdiffsync.errors import UsageError


def point(key, host, dataset, day):
    return Point(
        id=int(key, 16), key=key, chain=f"c{host}", chain_id=1, first=0, sequence=0, revision=0,
        dataset=dataset, dataset_guid=1, host=host, snapshot=f"{dataset}@{key}", guid=1, createtxg=1,
        created_ns=(1_795_000_000 + 86_400 * day) * 10**9, restic="r", base_ns=1, excludes="e",
        tags=(), keep=False, stats={},
    )  # fmt: skip


OLD, MINE, OTHER, LATER = (
    point("aa11", "other", "tank/a", 0), point("bb22", "mine", "tank/a", 1),
    point("cc33", "other", "tank/b", 2), point("dd44", "other", "tank/a", 3),
)  # fmt: skip
ALL = [OLD, MINE, OTHER, LATER]


@pytest.fixture
def app(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('remote = "/r"\npassword_file = "/p"\nhost = "mine"\n')
    return App(path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("tank/a@latest:x", MINE),
        ("tank/b@latest:x", OTHER),
        ("dd44:x", LATER),
        ("aa:x", OLD),
        ("bb22:x", MINE),
    ],
)
def test_names_mean_this_hosts_and_ids_anybodys(app, text, found):
    assert located(app, ALL, text, None).point == found
    assert point_named(app, ALL, text.removesuffix(":x")) == found


def test_a_time_before_this_hosts_first_point_is_not_another_hosts(app):
    with pytest.raises(UsageError, match="tank/a"):
        located(app, ALL, "tank/a@2026-11-19", None)
    with pytest.raises(UsageError, match="tank/a"):
        located(app, ALL, "tank/a:x", "2026-11-19")
