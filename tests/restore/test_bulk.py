"""What restic does of a restore: every point whole, whatever restic could not do, however it ended."""

import itertools
import shutil

import pytest

from oracle import differences
from zdiffsync.errors import RemoteError, ResticError
from zdiffsync.external.restic import Restic
from zdiffsync.restore import bulk
from zdiffsync.restore.assemble import Assembler

MIB = 1 << 20


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """Let restic do what it would not be started for, files and all."""
    monkeypatch.setattr(bulk, "_FILES", 1)


@pytest.fixture
def calls(monkeypatch):
    """The paths restic was asked for, a call each."""
    calls, restore = [], Restic.restore

    def counted(self, *args, includes, **options):
        calls.append(includes)
        return restore(self, *args, includes=includes, **options)

    monkeypatch.setattr(Restic, "restore", counted)
    return calls


def expected(world, sequence):
    return world.expected / world.points[sequence]


@pytest.mark.parametrize("sequence", range(4))
@pytest.mark.parametrize("share", [0.0, 0.8, 1.0])
def test_every_point_is_whole(world, restores, tmp_path, calls, monkeypatch, sequence, share):
    monkeypatch.setattr(bulk, "_SHARE", share or 1e-9)  # with nearly nothing wanted, everything is named
    plan, report = restores.restore(sequence, tmp_path / "to", local=False)
    assert differences(expected(world, sequence), tmp_path / "to") == []
    assert (len(calls), report.failed, report.warnings) == (1, [], {})
    assert 1 <= plan.bulk.files <= plan.files == report.files
    assert report.bytes_restored == plan.size
    assert report.downloaded <= plan.download + MIB


def test_below_a_path_restic_is_told_no_more(world, restores, tmp_path, calls):
    plan, report = restores.restore(0, tmp_path / "to", b"many", b"docs/deep", local=False)
    assert sorted(calls[0]) == [b"docs/deep", b"many"]
    assert report.files == plan.bulk.files
    for path in ("many", "docs/deep"):
        assert differences(expected(world, 0) / path, tmp_path / "to" / path.rpartition("/")[2]) == []


def test_what_is_there_already_stays(restores, tmp_path, calls):
    (tmp_path / "to/many").mkdir(parents=True)
    (tmp_path / "to/many/007").write_bytes(b"mine")
    (tmp_path / "to/docs").write_bytes(b"mine, too")
    _, report = restores.restore(0, tmp_path / "to", local=False)
    assert calls
    assert report.kept == 2
    assert (tmp_path / "to/many/007").read_bytes() == b"mine"
    assert (tmp_path / "to/docs").read_bytes() == b"mine, too"


@pytest.mark.parametrize("moment", ["before", "after"])
def test_where_restic_fails_we_go_on_alone(world, restores, tmp_path, monkeypatch, moment):
    restore = Restic.restore

    def fail(self, *args, **options):
        if moment == "after":
            restore(self, *args, **options)
        raise ResticError("it has its moods")

    monkeypatch.setattr(Restic, "restore", fail)
    _, report = restores.restore(2, tmp_path / "to", local=False)
    assert differences(expected(world, 2), tmp_path / "to") == []
    assert report.warnings == {"without restic this takes longer: it has its moods": 1}


def test_after_an_interruption_restic_need_not_come_again(world, restores, tmp_path, calls, monkeypatch):
    placed, take = itertools.count(), Assembler._take

    def interrupted(self, *args):
        if next(placed) == 100:
            raise RemoteError("the line is dead")
        return take(self, *args)

    monkeypatch.setattr(Assembler, "_take", interrupted)
    with pytest.raises(RemoteError, match="goes on where this one stopped"):
        restores.restore(2, tmp_path / "to", local=False)
    shutil.rmtree(restores.home)
    plan, report = restores.restore(2, tmp_path / "to", local=False)
    assert differences(expected(world, 2), tmp_path / "to") == []
    assert len(calls) == 1
    assert plan.resumed
    assert abs(report.downloaded - plan.download) < 2 * MIB


def test_after_an_interruption_of_restic_it_goes_on(world, restores, tmp_path, monkeypatch):
    restore, seen = Restic.restore, []

    def interrupted(self, snapshot, place, target, **options):
        seen.append(sorted(target.rglob("*")))
        restore(self, snapshot, place, target, **options)
        if len(seen) == 1:
            next(target.rglob("many/007")).write_bytes(b"half")
            next(target.rglob("many/008")).unlink()
            raise KeyboardInterrupt
        return restore(self, snapshot, place, target, **options)

    monkeypatch.setattr(Restic, "restore", interrupted)
    with pytest.raises(KeyboardInterrupt):
        restores.restore(0, tmp_path / "to", local=False)
    restores.restore(0, tmp_path / "to", local=False)
    assert seen[0] == []
    assert len(seen[1]) > 200
    assert differences(expected(world, 0), tmp_path / "to") == []


def test_a_damaged_byte_costs_its_file(world, restores, tmp_path):
    own = world.copy(tmp_path / "own")
    own.state, restores.world = world.state, own
    pack = max((own.remote / "restic/data").rglob("*"), key=lambda path: path.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(data)
    _, report = restores.restore(0, tmp_path / "to", local=False)
    ((path, reason),) = report.failed
    assert pack.name[:8] in reason
    assert differences(expected(own, 0), tmp_path / "to") == [f"missing: {path!r}"]
