"""What happens when restic, the remote, the disk or the user gets in the way."""

import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from test_restic import Bar, back_up, contents, opened

from zdiffsync.errors import (
    IntegrityError,
    LockedError,
    RemoteError,
    ResticError,
    ToolMissingError,
    ToolStalledError,
    WrongPasswordError,
)
from zdiffsync.external.rclone_env import find_rclone
from zdiffsync.external.restic import exclude_patterns
from zdiffsync.model.progress import SilentBar

MIB = 1 << 20


@pytest.fixture(scope="module")
def place(tmp_path_factory, restic_binary):
    """A folder with an empty repository; tests open it with the settings they need."""
    folder = tmp_path_factory.mktemp("failing")
    opened(folder, restic_binary).init()
    return folder


@pytest.fixture(scope="module")
def one_place(tmp_path_factory, one_restic):
    """The same with one restic version, for what is our work rather than restic's."""
    folder = tmp_path_factory.mktemp("ours")
    opened(folder, one_restic).init()
    return folder


def files(folder, **contents):
    folder.mkdir()
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return folder


def processes(file, text):
    """The running processes whose `file` in /proc contains `text`, with their command lines."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(text) in (entry / file).read_bytes():
                found[int(entry.name)] = (entry / "cmdline").read_bytes()
        except OSError:
            continue
    return found


def at_work(place):
    """The running restics, and what they started, whose repository lies in `place`."""
    return processes("environ", place)


def wait_until(true, seconds=15):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


class Interrupting(SilentBar):
    """Raises at the first progress, once it has looked at what any user of the machine can see."""

    def __init__(self, place, secret):
        self._place, self._secret = place, secret

    def advance(self, amount):
        if amount:
            assert at_work(self._place)
            assert not processes("cmdline", self._secret)
            raise KeyboardInterrupt


def test_an_old_restic_is_refused_with_the_fix(tmp_path, old_restic):
    with pytest.raises(ToolMissingError, match=r"restic 0\.14\.0, too old.*trixie"):
        opened(tmp_path, old_restic).init()
    assert not (tmp_path / "remote").exists()


def test_a_missing_or_foreign_restic_is_named(tmp_path):
    with pytest.raises(ToolMissingError, match=r"install restic 0\.18"):
        opened(tmp_path, str(tmp_path / "restic")).exists()
    with pytest.raises(ToolMissingError, match="true does not say"):
        opened(tmp_path, "true").exists()


def test_wrong_password_no_repository_and_no_remote_are_told_apart(place, restic_binary, tmp_path):
    (tmp_path / "remote").symlink_to(place / "remote")
    restic = opened(tmp_path, restic_binary)
    (tmp_path / "password").write_text("battery staple\n")
    with pytest.raises(WrongPasswordError, match=str(tmp_path / "password")):
        restic.exists()
    (tmp_path / "remote").unlink()
    assert not restic.exists()
    with pytest.raises(ResticError, match="no restic repository at rclone:zt:restic; run zdiffsync init"):
        restic.snapshots()
    lost = opened(tmp_path, restic_binary)
    lost._runner._environment["RESTIC_REPOSITORY"] = "rclone:nowhere:x"
    with pytest.raises(RemoteError, match=r"didn't find section in config file"):
        lost.exists()
    with pytest.raises(ResticError, match="already exists"):
        opened(place, restic_binary).init()


def test_the_users_own_restic_settings_and_odd_paths_do_not_matter(
    place, restic_binary, tmp_path, monkeypatch
):
    for name in (
        "RESTIC_PASSWORD",
        "RESTIC_REPOSITORY_FILE",
        "RESTIC_PASSWORD_COMMAND",
        "RESTIC_COMPRESSION",
    ):
        monkeypatch.setenv(name, "/nonexistent")
    program = tmp_path / "with space, comma" / "rclone"
    program.parent.mkdir()
    program.symlink_to(find_rclone())
    assert opened(place, restic_binary, rclone_program=str(program)).exists()


@pytest.mark.parametrize("zone", ["Asia/Tokyo", None])
def test_rclone_keeps_the_local_time_that_its_timetable_is_in(
    one_place, one_restic, tmp_path, monkeypatch, zone
):
    monkeypatch.delenv("TZ", raising=False)
    if zone is not None:
        monkeypatch.setenv("TZ", zone)
    program, told = tmp_path / "rclone", tmp_path / "told"
    program.write_text(f'#!/bin/sh\necho "${{TZ-none}}" >{told}\nexec {find_rclone()} "$@"\n')
    program.chmod(0o700)
    assert opened(one_place, one_restic, rclone_program=str(program)).exists()
    assert told.read_text() == f"{zone or 'none'}\n"


def test_an_interrupted_base_leaves_nothing_running_and_is_made_again(one_place, one_restic, tmp_path):
    tree = files(tmp_path / "tree", a=os.urandom(12 * MIB), b=b"b")
    slow = opened(one_place, one_restic, bwlimit="2M")
    slow._runner._environment["RCLone_restic_CONFIG_ZT_PASS"] = secret = "visible-to-nobody"
    with pytest.raises(KeyboardInterrupt):
        back_up(slow, tree, tags=["again"], progress=Interrupting(one_place, secret))
    assert not at_work(one_place)
    assert slow.snapshots(["again"]) == []
    summary = back_up(opened(one_place, one_restic), tree, tags=["again"])
    assert (summary.files_new, summary.failed) == (2, ())


def test_killed_with_a_lock_held_the_next_run_goes_on(one_place, one_restic, tmp_path):
    tree = files(tmp_path / "tree", a=os.urandom(4 * MIB))
    restic = opened(one_place, one_restic)
    made = back_up(restic, tree, tags=["locked"]).snapshot_id
    other = files(tmp_path / "other", a=os.urandom(4 * MIB))
    # A slow process holds restic's lock and is then killed like by a power cut.
    code = f"""
        import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})
        from pathlib import Path
        from test_restic import back_up, opened
        slow = opened(Path({str(one_place)!r}), {one_restic!r}, bwlimit="10k")
        back_up(slow, {str(other)!r}, tags=["slow"])
    """
    locks = one_place / "remote/restic/locks"
    before = set(locks.iterdir())
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    try:
        wait_until(lambda: set(locks.iterdir()) - before)
        with pytest.raises(LockedError, match=r"locked by another process: .*PID"):
            restic.forget([made], prune=True)
        [runner] = [pid for pid, line in at_work(one_place).items() if b"\0backup\0" in line]
        os.kill(runner, signal.SIGKILL)
        child.wait(10)
    finally:
        child.kill()
        child.wait()
    assert list(locks.iterdir())
    assert back_up(restic, tree, tags=["locked"]).files_unmodified == 1
    restic.forget([found.id for found in restic.snapshots(["locked"])], prune=True)
    assert not list(locks.iterdir())


def test_killed_ourselves_no_restic_goes_on(one_place, one_restic, tmp_path):
    tree = files(tmp_path / "tree", a=os.urandom(12 * MIB))
    code = f"""
        import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})
        from pathlib import Path
        from test_restic import back_up, opened
        back_up(opened(Path({str(one_place)!r}), {one_restic!r}, bwlimit="1M"), {str(tree)!r}, tags=["k"])
    """
    locks = one_place / "remote/restic/locks"
    before = set(locks.iterdir())
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    wait_until(lambda: set(locks.iterdir()) - before)
    child.kill()
    child.wait()
    wait_until(lambda: not at_work(one_place))


def test_no_progress_is_a_stall(one_place, one_restic, tmp_path):
    tree = files(tmp_path / "tree", a=os.urandom(24 * MIB))
    stuck = opened(one_place, one_restic, bwlimit="1k")
    with pytest.raises(ToolStalledError, match="no progress for 2 s"):
        back_up(stuck, tree, stall=2.0)
    assert not at_work(one_place)


def test_paths_too_long_for_restic_are_reported_or_left_out(place, restic_binary, tmp_path):
    restic = opened(place, restic_binary)
    root = os.fsencode(files(tmp_path / "tree", ok=b"ok"))
    name = b"\xff" * 250
    path, fd = b"", os.open(root, os.O_RDONLY)
    while len(path) < 4200:
        os.mkdir(name, dir_fd=fd)
        inner = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        path, fd = os.path.join(path, name), inner
    os.close(fd)
    summary = back_up(restic, root)
    assert summary.failed
    assert all(path.startswith(failed) and "too long" in reason for failed, reason in summary.failed)
    stored = {path for path, _node in restic.listing(summary.snapshot_id, b"")}
    assert {b"ok", name, name + b"/" + name} <= stored
    assert stored.isdisjoint(failed for failed, _reason in summary.failed)
    excludes = tmp_path / "excludes"
    top = min(failed for failed, _reason in summary.failed)
    excludes.write_bytes(b"".join(exclude_patterns(root, [top])))
    assert back_up(restic, root, exclude_file=excludes).failed == ()


def test_a_damaged_pack_costs_its_files_and_no_others(place, restic_binary, tmp_path):
    restic = opened(place, restic_binary)
    tree = tmp_path / "tree"
    files(tree, **{f"file{number}": os.urandom(3 * MIB) for number in range(4)})
    for number in range(4):
        (tree / f"link{number}").hardlink_to(tree / f"file{number}")
    before = {pack.name for pack in (place / "remote/restic/data").rglob("?" * 64)}
    base = back_up(restic, tree, tags=["damaged"]).snapshot_id
    packs = [pack for pack in (place / "remote/restic/data").rglob("?" * 64) if pack.name not in before]
    pack = max(packs, key=lambda each: each.stat().st_size)
    pack.chmod(0o600)
    with pack.open("r+b") as file:
        file.seek(pack.stat().st_size // 3)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))

    bar = Bar()
    target = tmp_path / "out"
    summary = restic.restore(base, None, target, includes=None, progress=bar)
    reasons = dict(summary.failed)
    [failed] = [path for path in reasons if path.startswith(b"file")]
    other = failed.replace(b"file", b"link")
    assert reasons.keys() == {failed, other}
    assert "ciphertext verification failed" in reasons[failed]
    assert pack.name[:8] in reasons[failed]
    expected = contents(os.fsencode(tree))
    del expected[failed], expected[other]
    assert contents(os.fsencode(target)) == expected
    with pytest.raises(IntegrityError, match="ciphertext verification failed"):
        restic.dump(base, failed, io.BytesIO())
    restic.check(None)
    with pytest.raises(IntegrityError, match=pack.name[:8]):
        restic.check("100%")
    pack.unlink()
    with pytest.raises(IntegrityError, match=pack.name[:8]):
        restic.check(None)
