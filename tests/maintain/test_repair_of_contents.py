"""repair on a real repository: what a local snapshot has comes back, the rest is given up by name."""

import os
import shutil

import pytest
from checked_world import Checked, build

from setup_cache import path_with_tools
from zdiffsync.cli.main import invoke
from zdiffsync.errors import ExitCode
from zdiffsync.maintain.subset import Subset


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path_with_tools())
        yield build(tmp_path_factory.mktemp("repaired") / "world")


@pytest.fixture
def broken(built, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", path_with_tools())
    checked = Checked(built.copy(tmp_path / "copy"))
    shutil.copytree(built.state, checked.world.state)
    return checked


def flip(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", ["deleted", "cut", "flipped"])
def test_what_snapshots_have_comes_back_whole(broken, damage):
    for sequence in (1, 2, 4):
        broken.snapshot(sequence)
        for pack in broken.packs_of(sequence):
            if damage == "deleted":
                pack.unlink()
            elif damage == "cut":
                os.truncate(pack, pack.stat().st_size - 5)
            else:
                flip(pack)
    before = sorted(path.name for path in broken.world.remote.rglob("*.manifest"))
    plan = broken.repair(dry_run=True, read_data=damage == "flipped")
    assert before == sorted(path.name for path in broken.world.remote.rglob("*.manifest"))
    report = broken.repair(read_data=damage == "flipped")
    assert report.exit_code is plan.exit_code is ExitCode.DONE
    assert report.contents == plan.contents == 6
    assert (report.lost, report.left) == (None, [])
    assert [str(name).rpartition("/")[2] for name in report.rewritten] == [
        f"{sequence:06d}-{sequence:06d}.1.manifest" for sequence in (4, 2, 1)
    ]
    checked = broken.check(read=Subset())
    assert checked.findings == []
    for sequence in range(5):
        assert broken.restores(sequence) == []
    assert broken.repair(read_data=True).contents == 0


def test_what_no_snapshot_has_is_given_up_by_name(broken):
    [pack] = broken.packs_of(1)
    pack.unlink()
    broken.snapshot(4)
    plan = broken.repair(dry_run=True)
    report = broken.repair()
    for each in (plan, report):
        assert each.exit_code is ExitCode.INTEGRITY
        assert each.lost_contents == 3
        assert {os.fsdecode(file.path) for file in each.lost.affected.named} == {
            "docs/letter",
            "docs/new",
            "image",
        }
        assert each.contents == 1  # the image as it is now, which was a delta of what is lost
    checked = broken.check(read=Subset(), drill=True, against_source=True)
    assert checked.findings == []
    assert any(
        note.startswith("lost, as repair found no copy: 3 files at 3 points") for note in checked.notes
    )
    for sequence in (0, 4):
        assert broken.restores(sequence) == []
    assert broken.restores(1, without=["docs/letter", "docs/new", "image", "docs/\n", "'docs'"]) == []
    again = broken.repair()
    assert (again.exit_code, again.contents, again.rewritten) == (ExitCode.DONE, 0, [])


def test_what_was_given_up_comes_back_when_a_snapshot_turns_up(broken):
    [pack] = broken.packs_of(1)
    pack.unlink()
    broken.repair()
    broken.snapshot(1)
    report = broken.repair()
    assert (report.exit_code, report.contents) == (ExitCode.DONE, 3)
    assert broken.check(read=Subset()).notes == []
    for sequence in range(5):
        assert broken.restores(sequence) == []


def test_a_snapshot_with_other_bytes_is_no_copy(broken, tmp_path):
    [pack] = broken.packs_of(4)
    pack.unlink()
    wrong = tmp_path / "wrong"
    shutil.copytree(broken.world.expected / broken.world.points[4], wrong, symlinks=True)
    letter = wrong / "docs/letter"
    info = letter.stat()
    letter.write_bytes(b"dear YOU\n")
    os.utime(letter, ns=(info.st_atime_ns, info.st_mtime_ns))
    broken.snapshots[104] = os.fsencode(wrong)
    assert broken.repair().lost_contents == 1


def test_other_hosts_chains_are_left_alone(broken):
    [pack] = broken.packs_of(1)
    pack.unlink()
    report = broken.repair(host="elsewhere")
    assert report.exit_code is ExitCode.INTEGRITY
    assert report.left == ["packs of host host: only there they can be repaired"]
    assert report.rewritten == []


@pytest.mark.parametrize("damage", ["flipped", "deleted"])
@pytest.mark.parametrize("sequence", [0, 2, 4])
def test_a_manifest_is_written_anew_from_the_catalog(broken, damage, sequence):
    file = broken.manifest_file(sequence)
    flip(file) if damage == "flipped" else file.unlink()
    assert broken.check().findings
    report = broken.repair()
    assert report.exit_code is ExitCode.DONE
    assert [name.revision for name in report.manifests.written] == [1]
    (broken.world.state / "catalog.sqlite").unlink()
    assert broken.check(read=Subset()).findings == []
    for each in range(5):
        assert broken.restores(each) == []


@pytest.mark.parametrize("damage", ["flipped", "deleted"])
def test_without_a_catalog_the_chain_ends_before_what_is_gone(broken, damage):
    file = broken.manifest_file(2)
    flip(file) if damage == "flipped" else file.unlink()
    shutil.rmtree(broken.world.state)
    report = broken.repair()
    assert report.exit_code is ExitCode.INTEGRITY
    assert [name.last for name in report.manifests.moved] == ([2, 3, 4] if damage == "flipped" else [3, 4])
    checked = broken.check()
    assert (checked.findings, checked.points) == ([], 2)
    for sequence in (0, 1):
        assert broken.restores(sequence) == []
    assert len(list((broken.world.remote / "data/lost").iterdir())) == len(report.manifests.moved)


def test_damaged_bases_are_mended_as_far_as_restic_can(broken):
    packs = sorted((broken.world.remote / "restic/data").rglob("*"), key=lambda path: path.stat().st_size)
    large = [path for path in packs if path.is_file()][-1]
    large.chmod(0o600)
    flip(large)
    assert broken.check(read=Subset()).findings
    report = broken.repair()
    assert report.bases
    assert not large.exists()


def test_the_command_tells_what_it_does(broken, capsys):
    [pack] = broken.packs_of(1)
    pack.unlink()

    def repair(*options):
        code = invoke(["-c", str(broken.world.config), "repair", *options])
        said = capsys.readouterr()
        return code, (said.out + said.err).splitlines()

    code, lines = repair("--dry-run")
    assert (code, len(lines)) == (90, 2)
    assert lines[0].startswith(f"found: packs/{pack.name[:2]}/{pack.name}: is not there; damages 3 files")
    assert lines[1].startswith(
        "would be given up: no snapshot has the bytes any more; damages 3 files at 4 points"
    )
    code, lines = repair()
    assert (code, lines[1].partition(":")[0]) == (90, "given up")
    assert repair() == (0, ["nothing to repair"])
