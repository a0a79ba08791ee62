"""Restoring where somebody else has a hand in it: planted folders, symlinks, and swaps while it runs.

What may never happen: a byte, a mode or an owner changes outside the target.
"""

import os
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from overlay_target import CONTENTS, TIME, directory, file

from zdiffsync.errors import ConfigError, UsageError
from zdiffsync.external.lock import exclusive
from zdiffsync.format.manifest import NameRecord
from zdiffsync.restore.overwrite import Overwrite

STRANGER = 65534
FILES = 30


@pytest.fixture
def outside(tmp_path):
    """A directory that no restore has any business in; what is in it looks like what is restored."""
    place = tmp_path / "outside"
    (place / "sub").mkdir(parents=True)
    for name in ["f0", "f1", "sub/f0", "sub/f1", "secret"]:
        (place / name).write_bytes(CONTENTS[1])
        os.utime(place / name, ns=(TIME, TIME))
        (place / name).chmod(0o600)
    return place


def state(place):
    """Everything about a directory that a restore could change."""
    found = {}
    for folder, folders, files in os.walk(place):
        for path in [folder, *(os.path.join(folder, name) for name in [*folders, *files])]:
            info = os.lstat(path)
            data = b"" if os.path.isdir(path) else Path(path).read_bytes()
            found[path] = (info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns, info.st_ino, data)
    return found


ATTACK = """
    import itertools, os, sys
    place, outside, what = sys.argv[1:]
    os.chdir(place)
    print("ready", flush=True)

    def swap_directory(number):
        away = f"away{number}"
        os.rename("dir", away)
        os.symlink(outside, "dir")
        os.unlink("dir")
        os.rename(away, "dir")

    def swap_files(number):
        for file in range(10):
            os.link("good", "evil")  # is what is restored, and so only its metadata are set
            os.rename("evil", f"dir/f{file}")
        for file in range(10):
            os.symlink(outside + "/secret", "evil")
            os.rename("evil", f"dir/f{file}")

    parent = os.getppid()
    for number in itertools.takewhile(lambda _number: os.getppid() == parent, itertools.count()):
        try:
            (swap_directory if what == "directory" else swap_files)(number)
        except OSError:
            for name in ("dir", "evil"):
                if os.path.islink(name) or name == "evil":
                    try:
                        os.unlink(name)
                    except OSError:
                        pass
"""


@contextmanager
def attacker(place, outside, what):
    """Run somebody else, to whom `place` belongs and who changes it as fast as he can."""
    command = [
        "setpriv",
        f"--reuid={STRANGER}",
        "--clear-groups",
        sys.executable,
        "-c",
        textwrap.dedent(ATTACK),
    ]
    with subprocess.Popen([*command, place, outside, what], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        try:
            yield
        finally:
            process.kill()


def tree(owner):
    """A directory with many files and another one in it, which belong to `owner`."""
    yield directory(2, b"dir")
    yield directory(3, b"sub", 2)
    for number in range(FILES):
        yield file(10 + number, b"f%d" % number, 1, 2, uid=owner, gid=owner, mode=0o666)
        yield file(1000 + number, b"f%d" % number, 1, 3, uid=owner, gid=owner, mode=0o666)


def let_all_in(path):
    """Make a temporary directory reachable for other users."""
    while path != path.parent and path.name != "tmp":
        path.chmod(path.stat().st_mode | 0o711)
        path = path.parent


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user, too")
@pytest.mark.parametrize("overwrite", [Overwrite.CHANGED, Overwrite.ALWAYS])
@pytest.mark.parametrize("what", ["directory", "file"])
def test_swaps_while_it_runs_lead_nothing_outside(restore, outside, tmp_path, what, overwrite):
    let_all_in(tmp_path)
    restore.target.mkdir()
    os.chown(restore.target, STRANGER, STRANGER)
    (restore.target / "dir").mkdir()
    (restore.target / "good").write_bytes(CONTENTS[1])
    os.utime(restore.target / "good", ns=(TIME, TIME))
    for name in "dir", "good":
        os.chown(restore.target / name, STRANGER, STRANGER)
    before = state(outside)
    began, swapped = time.monotonic(), 0
    with attacker(restore.target, outside, what):
        # However slow the machine, somebody has to have been in the way.
        while time.monotonic() < began + 3 or (not swapped and time.monotonic() < began + 60):
            report = restore(*tree(STRANGER), overwrite=overwrite)
            os.chown(restore.target, STRANGER, STRANGER)
            swapped += len(report.failed) if what == "directory" else report.kept + report.files
            assert not report.damaged
            assert state(outside) == before
    assert state(outside) == before
    assert swapped


@pytest.mark.parametrize("call", ["chown", "chmod", "setxattr", "utime"])
def test_a_swap_right_before_any_call_that_sets_metadata_leads_nothing_outside(
    restore, outside, monkeypatch, call
):
    """The file is kept, so that its metadata are set where it stands."""
    restore.target.mkdir()
    place = restore.target / "f0"
    place.write_bytes(CONTENTS[1])
    os.utime(place, ns=(TIME, TIME))
    before = state(outside)
    original, swapped = getattr(os, call), []

    def swap(*args, **options):
        if not swapped:
            swapped.append(args)
            place.unlink()
            place.symlink_to(outside / "secret")
        return original(*args, **options)

    monkeypatch.setattr(os, call, swap)
    report = restore(
        file(2, b"f0", mode=0o666, uid=STRANGER, xattrs=((b"user.k", b"v"),)), overwrite=Overwrite.CHANGED
    )
    assert swapped
    assert report.kept == 1
    assert state(outside) == before


@pytest.mark.parametrize("overwrite", list(Overwrite))
def test_symlinks_planted_all_over_are_replaced_or_kept_and_never_followed(restore, outside, overwrite):
    restore.target.mkdir()
    (restore.target / "dir").mkdir()
    (restore.target / "dir" / "sub").symlink_to(outside)
    for name in ("f0", "f1"):
        (restore.target / "dir" / name).symlink_to(outside / "secret")
    before = state(outside)
    report = restore(*tree(os.getuid()), overwrite=overwrite)
    assert state(outside) == before
    assert (report.failed, report.damaged) == ([], False)
    if overwrite is not Overwrite.NEVER:
        assert not (restore.target / "dir" / "sub").is_symlink()
        assert (restore.target / "dir" / "f0").read_bytes() == CONTENTS[1]


def test_a_symlink_where_the_restore_keeps_its_things_is_refused(restore, outside):
    restore.target.mkdir()
    restore.staging.symlink_to(outside)
    before = state(outside)
    with pytest.raises(UsageError, match=r"is no directory of ours; remove it"):
        restore(file(2, b"f"))
    assert state(outside) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what belongs to others")
@pytest.mark.parametrize("planted", ["lock", "journal", "new"])
def test_what_another_user_planted_there_is_refused(restore, outside, planted):
    restore.target.mkdir()
    staging = restore.staging
    staging.mkdir()
    (staging / planted).symlink_to(outside / ("sub" if planted == "new" else "secret"))
    os.chown(staging, STRANGER, STRANGER)
    before = state(outside)
    with pytest.raises(UsageError, match="belongs to another user; remove it"):
        restore(file(2, b"f"))
    assert state(outside) == before
    assert os.listdir(restore.target) == [staging.name]


def test_a_lock_that_is_a_symlink_is_not_followed(tmp_path, outside):
    (tmp_path / "lock").symlink_to(outside / "secret")
    before = state(outside)
    with pytest.raises(ConfigError, match="cannot open the lock"), exclusive(tmp_path / "lock", "run"):
        pass
    assert state(outside) == before


@pytest.mark.parametrize(
    ("things", "extra", "paths"),
    [
        ([directory(2, b"a"), directory(3, b"b", 2)], [NameRecord(3, b"a", 2)], {b"a/b/a"}),
        ([directory(2, b"a")], [NameRecord(2, b"a", 2)], {b"a/a"}),
        ([directory(2, b"a")], [NameRecord(1, b"b", 2)], {b"a", b"b"}),
        ([directory(2, b"a")], [NameRecord(2, b"root", 1)], {b"a/root"}),
    ],
    ids=["two in each other", "one in itself", "one with two names", "the root in itself"],
)
def test_a_directory_that_cannot_be_is_named_and_the_rest_restored(restore, things, extra, paths):
    report = restore(*things, file(9, b"f", 1, 2), extra=extra)
    assert report.damaged
    ((failed, reason),) = report.failed
    assert failed in paths
    assert "its manifests are damaged" in reason
    assert {(restore.target / name / "f").exists() for name in "ab"} == {True, False}


def test_thousands_of_names_for_nested_directories_end_soon(restore):
    """Each directory has two names in the one above: 2 to the 40th paths, were they all walked."""
    things = [directory(2 + level, b"a", 1 + level) for level in range(40)]
    extra = [NameRecord(1 + level, b"b", 2 + level) for level in range(40)]
    report = restore(*things, extra=extra)
    assert report.damaged
    assert len(report.failed) == 40
