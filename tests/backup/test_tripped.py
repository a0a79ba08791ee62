"""The datasets the tripwire has stopped, as forget and prune see them."""

import json
import stat

import pytest

from zdiffsync.backup.tripped import Tripped, frozen
from zdiffsync.errors import CatalogError


def test_nothing_is_frozen_until_a_run_stops(tmp_path):
    assert frozen(tmp_path) is None
    Tripped(tmp_path).clear("tank/data")
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_dataset_freezes_until_it_is_cleared(tmp_path):
    tripped = Tripped(tmp_path)
    tripped.add("tank/data/child", "9 of 9 files were deleted", "tank/data")
    reason = frozen(tmp_path)
    assert reason is not None
    assert ": 9 of 9 files were deleted" in reason
    assert "tank/data/child, since 20" in reason
    assert reason.endswith("zdiffsync run --accept-changes tank/data")
    assert "\n" not in reason
    tripped.clear("tank/other")
    assert frozen(tmp_path) == reason
    tripped.clear("tank/data/child")
    assert frozen(tmp_path) is None


def test_every_dataset_must_be_cleared(tmp_path):
    tripped = Tripped(tmp_path)
    for name in ("b", "a", "c"):
        tripped.add(name, "much", name)
    tripped.clear("a")
    assert str(frozen(tmp_path)).endswith("--accept-changes b c")
    tripped.keep(["c", "unknown"])
    assert list(tripped.all()) == ["c"]
    tripped.keep([])
    assert frozen(tmp_path) is None


def test_the_first_time_is_kept(tmp_path):
    tripped = Tripped(tmp_path)
    path = tmp_path / "tripped.json"
    path.write_text(json.dumps({"a": {"since": "2026-11-20T02:00:00Z", "found": "much", "accept": "a"}}))
    tripped.add("a", "more", "a")
    assert (tripped.all()["a"].since, tripped.all()["a"].found) == ("2026-11-20T02:00:00Z", "more")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"a": {}}', b"\xff"])
def test_a_damaged_file_removes_nothing_and_says_what_to_do(tmp_path, data):
    (tmp_path / "tripped.json").write_bytes(data)
    with pytest.raises(CatalogError, match=r"cannot read .*tripped\.json: .*; delete it"):
        frozen(tmp_path)
