"""check on a real repository that is damaged in many ways: exit 90, and what suffers by name."""

import json
import os
import shutil

import pytest
from checked_world import Checked, build

from setup_cache import path_with_tools
from zdiffsync.backup.excludes import Excludes
from zdiffsync.cli.main import invoke
from zdiffsync.errors import ExitCode, RemoteError, UsageError
from zdiffsync.external.lock import exclusive
from zdiffsync.maintain.memory import CheckMemory
from zdiffsync.maintain.subset import Subset
from zdiffsync.store.repository import open_repository


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path_with_tools())
        yield build(tmp_path_factory.mktemp("checked") / "world")


@pytest.fixture
def checked(built, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", path_with_tools())
    checked = Checked(built.copy(tmp_path / "copy"))
    shutil.copytree(built.state, checked.world.state)
    return checked


def flip(path, at=-100):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def named(finding):
    return {os.fsdecode(each.path) for each in finding.affected.named}


def test_a_sound_repository_has_no_errors(checked, capsys):
    checked.snapshot(4)
    report = checked.check(read=Subset(), against_source=True, drill=True)
    assert report.findings == []
    assert (report.points, report.bases, report.bases_read) == (5, 1, "1/1")
    assert report.packs == report.packs_read == 3
    assert report.files_compared > 20
    assert report.files_restored > 20
    answer = checked.cli("--read-data", expect=0, capsys=capsys)
    assert (answer["findings"], answer["notes"], answer["packs_read"]) == ([], [], 3)


def test_a_deleted_pack_names_all_files_that_need_it_at_all_points(checked):
    [pack] = checked.packs_of(1)
    pack.unlink()
    report = checked.check()
    assert report.exit_code is ExitCode.INTEGRITY
    [finding] = report.findings
    assert (finding.pack, finding.what) == (pack.name, "is not there")
    assert named(finding) == {"docs/letter", "docs/new", "image"}  # the image of point 2 is a delta of it
    assert finding.affected.files == 3
    assert set(finding.affected.points) == set(checked.world.points[1:])
    ends = {os.fsdecode(each.path): (each.first, each.last) for each in finding.affected.named}
    points = checked.world.points
    assert ends["docs/new"] == (points[1], points[2])  # removed after that
    assert ends["docs/letter"] == (points[1], points[3])
    assert ends["image"] == (points[1], points[4])
    assert checked.told == report.findings


def test_a_truncated_pack_is_found_without_reading(checked):
    [pack] = checked.packs_of(2)
    os.truncate(pack, pack.stat().st_size - 5)
    [finding] = checked.check().findings
    assert "bytes instead of" in finding.what
    assert named(finding) == {"image", "many/added"}
    assert set(finding.affected.points) == set(checked.world.points[2:])


def test_flipped_bytes_are_found_by_reading_and_remembered(checked):
    [pack] = checked.packs_of(2)
    flip(pack)
    assert checked.check().findings == []
    [finding] = checked.check(read=Subset()).findings
    assert (finding.pack, named(finding)) == (pack.name, {"image", "many/added"})
    with open_repository(str(checked.world.remote), checked.world.secret) as repository:
        memory = CheckMemory(checked.world.state, repository.identifier)
        assert list(memory.damaged) == [pack.name]
        flip(pack)
        assert checked.check(read=Subset()).findings == []
        memory = CheckMemory(checked.world.state, repository.identifier)
        assert memory.damaged == {}
    assert (checked.world.state / "check.json").stat().st_mode & 0o777 == 0o600


def test_two_exchanged_packs_are_found_by_reading(checked):
    [one], [other] = checked.packs_of(1), checked.packs_of(2)
    one.write_bytes(other.read_bytes())
    findings = checked.check(read=Subset()).findings
    assert [finding.pack for finding in findings] == [one.name]


def test_a_share_goes_round(checked):
    [*_, largest] = sorted(
        (pack for sequence in (1, 2, 4) for pack in checked.packs_of(sequence)),
        key=lambda p: p.stat().st_size,
    )
    read, rounds = [], 0
    while len(read) < 3:
        rounds += 1
        report = checked.check(read=Subset.parse("1%"))
        assert report.bases_read == f"{rounds}/100"
        packs = json.loads((checked.world.state / "check.json").read_bytes())["packs"]
        assert len(packs) > len(read)  # none again while others wait
        read = list(packs)
    packs[largest.name] = 1  # long ago
    stored = json.loads((checked.world.state / "check.json").read_bytes()) | {"packs": packs}
    (checked.world.state / "check.json").write_text(json.dumps(stored))
    assert checked.check(read=Subset.parse("1k")).bytes_read == largest.stat().st_size - 48


@pytest.mark.parametrize("damage", ["flipped", "cut", "moved", "deleted"])
def test_a_damaged_manifest_is_named(checked, damage):
    file = checked.manifest_file(2)
    if damage == "flipped":
        flip(file)
    elif damage == "cut":
        file.write_bytes(b"")
    elif damage == "moved":
        shutil.copyfile(checked.manifest_file(3), file)
    else:
        file.unlink()
    report = checked.check()
    assert [finding.points for finding in report.findings if finding.points]
    texts = [finding.name for finding in report.findings]
    assert texts == [
        "points/" + checked.world.chain
        if damage == "deleted"
        else f"points/{checked.world.chain}/{file.name}"
    ]
    assert report.exit_code == 90


def test_a_damaged_manifest_is_found_without_a_catalog_and_the_rest_is_checked(checked):
    flip(checked.manifest_file(2))
    [pack] = checked.packs_of(1)
    pack.unlink()
    shutil.rmtree(checked.world.state)
    report = checked.check()
    assert [finding.name.rpartition("/")[2] for finding in report.findings] == [
        checked.manifest_file(2).name,
        pack.name,
    ]
    assert named(report.findings[1]) == {"docs/letter", "docs/new", "image"}
    assert any("points that cannot be read" in note for note in report.notes)


def test_what_is_not_needed_is_a_note(checked):
    remote = checked.world.remote / "data"
    (remote / "packs/ab").mkdir()
    shutil.copyfile(checked.packs_of(1)[0], remote / "packs/ab" / ("ab" * 16))
    shutil.copyfile(checked.manifest_file(2), remote / "letter.txt")
    shutil.copyfile(checked.manifest_file(2), remote / "packs/ab/cd.partial")
    report = checked.check()
    assert report.findings == []
    assert len(report.notes) == 3


def test_what_is_left_of_a_manifests_upload_is_a_note(checked):
    """As long as another holds all its points."""
    whole = checked.manifest_file(2).read_bytes()
    checked.manifest_file(2).with_name("000002-000002.1.manifest").write_bytes(whole[:200])
    report = checked.check()
    assert (report.findings, report.points) == ([], 5)
    assert report.notes == ["manifests whose upload broke off: 1; prune removes them"]


def test_the_newest_manifest_is_missed_and_the_catalog_keeps_what_it_knows(checked):
    checked.manifest_file(4).unlink()
    for _ in range(2):
        [finding] = checked.check().findings
        assert finding.what.endswith("of the newest point of tank/data, is not there")


def test_a_stray_among_the_manifests_is_an_error(checked):
    shutil.copyfile(checked.manifest_file(2), checked.manifest_file(2).with_name("copy of"))
    [finding] = checked.check().findings
    assert finding.what == "lies among the manifests and is none"


@pytest.mark.parametrize("damage", ["snapshot", "pack", "everything"])
def test_a_damaged_base_is_found(checked, damage):
    restic = checked.world.remote / "restic"
    if damage == "snapshot":
        shutil.rmtree(restic / "snapshots")
        (restic / "snapshots").mkdir()
    elif damage == "everything":
        shutil.rmtree(restic)
    else:
        packs = sorted(path for path in (restic / "data").rglob("*") if path.is_file())
        large = max(packs, key=lambda path: path.stat().st_size)
        large.chmod(0o600)
        flip(large)
    report = checked.check(read=Subset())
    assert report.exit_code is ExitCode.INTEGRITY
    assert all(finding.name.startswith("restic") for finding in report.findings)
    if damage in {"snapshot", "everything"}:
        assert report.findings[0].points == tuple(checked.world.points)


def test_what_differs_from_the_snapshot_is_found(checked, tmp_path):
    wrong = tmp_path / "wrong"
    shutil.copytree(checked.world.expected / checked.world.points[4], wrong, symlinks=True)
    letter = wrong / "docs/letter"
    info = letter.stat()
    letter.write_bytes(b"dear YOU\n")
    os.utime(letter, ns=(info.st_atime_ns, info.st_mtime_ns))
    os.chmod(wrong / "docs/shallow/kept", 0o600)
    (wrong / "many/forgotten").write_bytes(b"not in the backup")
    checked.snapshots[104] = os.fsencode(wrong)
    checked.snapshot(2)
    report = checked.check(against_source=True, files=200)
    what = {finding.name: finding.what for finding in report.findings}
    assert what["tank/data:docs/letter"] == "differs from the snapshot: bytes"
    assert what["tank/data:docs/shallow/kept"] == "differs from the snapshot: mode"
    assert {finding.points for finding in report.findings} == {(checked.world.points[4],)}


def test_names_that_the_backup_lacks_are_found_where_the_patterns_are_the_same(
    checked, tmp_path, monkeypatch
):
    wrong = tmp_path / "wrong"
    shutil.copytree(checked.world.expected / checked.world.points[4], wrong, symlinks=True)
    (wrong / "many/forgotten").write_bytes(b"not in the backup")
    checked.snapshots[104] = os.fsencode(wrong)
    monkeypatch.setattr(Excludes, "digest", "0" * 16)
    [finding] = checked.check(against_source=True).findings
    assert (finding.name, finding.what) == (
        "tank/data:many/forgotten",
        "is in the snapshot and not in the backup",
    )


def test_damage_shows_in_the_drill_and_in_the_comparison(checked, tmp_path):
    [pack] = checked.packs_of(1)
    flip(pack, 200)  # in its first blob
    checked.snapshot(1)
    points = [checked.world.points[1]]
    with checked.world.catalog() as catalog:
        points = [point for point in catalog.points() if point.key in points]
    report = checked.check(
        points=points, against_source=True, drill=True, files=100, folder=tmp_path / "drill"
    )
    broken = {finding.name for finding in report.findings}
    assert broken == {"tank/data:docs/letter", "tank/data:docs/new", "tank/data:image"}
    assert any("cannot be restored" in finding.what for finding in report.findings)
    assert os.listdir(tmp_path / "drill") == []


def test_a_run_that_holds_the_lock_keeps_nobody_from_checking(checked, capsys):
    with exclusive(checked.world.state / "lock", "run"):
        checked.cli(expect=0, capsys=capsys)


def test_without_snapshots_nothing_is_compared_and_that_is_said(checked):
    report = checked.check(against_source=True)
    assert (report.findings, report.files_compared) == ([], 0)
    assert report.notes == ["no snapshot of a point is on this machine, so nothing was compared"]


def test_a_dead_remote_is_no_damage(checked, capsys):
    checked.world.remote.rename(checked.world.home / "away")
    (checked.world.home / "remote").write_text("a file where a folder should be")
    with pytest.raises((RemoteError, UsageError)):
        checked.check()
    capsys.readouterr()


def test_the_command_says_each_finding_in_one_line(checked, capsys):
    [pack] = checked.packs_of(1)
    pack.unlink()
    assert invoke(["-c", str(checked.world.config), "check"]) == 90
    out = capsys.readouterr()
    assert out.out == ""
    first, *rest = out.err.splitlines()
    assert first.startswith(
        f"zdiffsync: packs/{pack.name[:2]}/{pack.name}: is not there; damages 3 files at 4 points: "
    )
    assert "tank/data:docs/letter" in first
    assert rest[-1].startswith("1 error was found")


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/257", "0%", "101%", "5 G", "0", "x", ""])
def test_a_wrong_subset_is_refused(text):
    with pytest.raises(UsageError, match="is no subset"):
        Subset.parse(text)


def test_parts_read_everything_once(checked):
    parts = [checked.check(read=Subset.parse(f"{number}/4")) for number in range(1, 5)]
    assert sum(report.packs_read for report in parts) == 3
    assert [report.bases_read for report in parts] == ["1/4", "2/4", "3/4", "4/4"]
