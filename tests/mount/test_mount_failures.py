"""A mount whose remote fails: the read that needs it fails in time, everything else goes on."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from mounted_world import expected_path
from mounts import wait_for


def packs(world):
    return [path for path in (world.remote / "data/packs").rglob("*") if path.is_file()]


def restic_packs(world):
    return [path for path in (world.remote / "restic/data").rglob("*") if path.is_file()]


def test_a_killed_rclone_is_started_again(fresh, mount):
    mounted = mount(fresh)
    latest = mounted.points()[2]
    assert (latest / "docs/new").read_bytes() == b"new"
    first = mounted.rclone()
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert (latest / "image").read_bytes() == (expected_path(fresh, 2) / "image").read_bytes()
    assert mounted.rclone() not in {None, first}


def test_an_unreadable_remote_costs_the_reads_that_need_it(fresh, mount):
    mounted = mount(fresh)
    latest = mounted.points()[2]
    assert (latest / "docs/notes.md").read_bytes() == b"first\nsecond\n"
    hidden = fresh.home / "hidden"
    fresh.remote.rename(hidden)
    began = time.monotonic()
    with pytest.raises(OSError, match="Input/output error"):
        (latest / "image").read_bytes()
    assert time.monotonic() - began < 60
    assert (latest / "docs/notes.md").read_bytes() == b"first\nsecond\n"
    hidden.rename(fresh.remote)
    assert (latest / "image").read_bytes() == (expected_path(fresh, 2) / "image").read_bytes()
    mounted.process.terminate()
    code, said = mounted.end()
    assert code == 0
    assert f"zdiffsync: {fresh.points[2]}:/image: " in said


def test_one_damaged_pack_costs_one_file(fresh, mount):
    shutil.rmtree(fresh.state / "cache", ignore_errors=True)
    damaged = max(packs(fresh), key=lambda path: path.stat().st_mtime)
    data = bytearray(damaged.read_bytes())
    for at in range(40, len(data)):
        data[at] ^= 0xFF
    damaged.chmod(0o600)
    damaged.write_bytes(data)
    mounted = mount(fresh)
    latest = mounted.points()[2]
    with pytest.raises(OSError, match="Input/output error"):
        (latest / "image").read_bytes()
    assert (latest / "docs/notes.md").read_bytes() == b"first\nsecond\n"
    assert (latest / "lots/100").read_bytes() == b"100\n"
    mounted.process.terminate()
    _, said = mounted.end()
    assert damaged.name in said


def test_a_hanging_rclone_holds_up_nobody_else(fresh, mount):
    mounted = mount(fresh)
    latest = mounted.points()[2]
    assert (latest / "docs/notes.md").read_bytes() == b"first\nsecond\n"
    rclone = mounted.rclone()
    os.kill(rclone, signal.SIGSTOP)
    try:
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            try:
                (latest / "image").read_bytes()
            except OSError:
                os._exit(0)
            os._exit(1)
        time.sleep(1)
        assert (latest / "docs/notes.md").read_bytes() == b"first\nsecond\n"
        assert sorted(os.listdir(mounted.points()[1] / "docs")) == ["empty", "letter.txt", "new", "notes.md"]
        assert time.monotonic() - began < 20
    finally:
        os.kill(rclone, signal.SIGCONT)
    _, status = os.waitpid(pid, 0)
    assert status in {0, 256}
    wait_for(lambda: (latest / "image").stat().st_size > 0, "an answer")
    assert (latest / "image").read_bytes() == (expected_path(fresh, 2) / "image").read_bytes()


def test_a_mount_without_its_remote_shows_what_the_cache_has(fresh, mount):
    first = mount(fresh)
    for path in first.points()[2].rglob("*"):
        path.lstat()
    first.close()
    fresh.remote.rename(fresh.home / "hidden")
    again = mount(fresh)
    assert len(list(Path(again.points()[2], "lots").iterdir())) == 300
