"""Restores that are killed, and remotes that are damaged: what is right is given back, once fetched."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from oracle import differences

MIB = 1 << 20
BLOCK = 512 << 10


def expected(world, sequence):
    return world.expected / world.points[sequence]


@pytest.fixture
def own(world, tmp_path):
    """A world whose remote a test may damage."""
    return world.copy(tmp_path / "own")


def start(world, *arguments):
    program = "from zdiffsync.cli.main import main; main()"
    command = [sys.executable, "-c", program, "-c", str(world.config), "--json", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def call(world, *arguments):
    with start(world, *arguments) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, json.loads(out), err.decode()


def fetched(target):
    """Bytes that lie in the staging folder or in place."""
    found = 0
    for folder, _, names in os.walk(target):
        for name in names:
            with suppress(FileNotFoundError):  # in place by now
                found += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return found


def test_killed_again_and_again_it_fetches_little_twice_and_leaves_nothing(own, tmp_path):
    target = tmp_path / "to"
    own.config.write_text('bwlimit = "8M"\n' + own.config.read_text())
    _, plan, _ = call(own, "restore", own.points[2], "--to", str(target), "--no-local", "--plan")
    assert plan["download_bytes"] > 18 * MIB
    had, kills = 0, 0
    while kills < 4:
        process = start(own, "restore", own.points[2], "--to", str(target), "--no-local")
        more = had + 3 * MIB
        while process.poll() is None and (not target.exists() or fetched(target) < more):
            time.sleep(0.02)
        assert process.poll() is None, process.stderr.read()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        had, kills = fetched(target), kills + 1
        names = [path for path in os.listdir(target) if not path.startswith(".zdiffsync-restore-")]
        assert "image" not in names or (target / "image").stat().st_size == 12 * MIB
    code, report, err = call(own, "restore", own.points[2], "--to", str(target), "--no-local")
    assert (code, err, report["resumed"], report["failed"]) == (0, "", True, [])
    assert report["downloaded_bytes"] < plan["download_bytes"] - 8 * MIB
    assert differences(expected(own, 2), target) == []


def test_killed_while_files_are_put_in_place_hard_links_and_directories_are_whole(own, tmp_path):
    """Whatever the moment: directories get their times, hard links their other names."""
    for number in range(6):
        target = tmp_path / f"to {number}"
        process = start(own, "restore", own.points[1], "--to", str(target), "--no-local")
        while process.poll() is None and not (target / "many").exists():
            time.sleep(0.001)
        time.sleep(0.01 * number)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        code, report, err = call(own, "restore", own.points[1], "--to", str(target), "--no-local")
        assert (code, err) == (0, "")
        assert differences(expected(own, 1), target) == []
        assert report["files"] + report["kept"] >= 208


def test_two_of_the_same_restore_at_once(own, tmp_path):
    own.config.write_text('bwlimit = "8M"\n' + own.config.read_text())
    target = tmp_path / "to"
    with start(own, "restore", own.points[2], "--to", str(target), "--no-local") as first:
        while not (target.exists() and list(target.glob(".zdiffsync-restore-*/journal"))):
            assert first.poll() is None
            time.sleep(0.01)
        code, answer, _ = call(own, "restore", own.points[2], "--to", str(target), "--no-local")
        assert code == 11
        assert "zdiffsync restore (process" in answer["error"]
        first.communicate(timeout=60)
        assert first.returncode == 0
    assert differences(expected(own, 2), target) == []


def flip(path, offset):
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x55]))


def test_a_damaged_block_of_a_pack_costs_its_file_and_names_the_pack(own, tmp_path):
    packs = sorted((own.remote / "data/packs").rglob("*"), key=lambda path: path.stat().st_size)
    largest = packs[-1]
    assert largest.stat().st_size > 1.5 * MIB  # two of the large files
    flip(largest, largest.stat().st_size // 4)
    code, report, err = call(own, "restore", own.points[2], "--to", str(tmp_path / "to"), "--no-local")
    assert code == 90
    ((path, reason),) = report["failed"]
    assert re.fullmatch(r"many/large \d", path)
    assert largest.name in reason
    assert f"not restored: {path}: " in err
    assert differences(expected(own, 2), tmp_path / "to") == [f"missing: {os.fsencode(path)!r}"]


def test_a_pack_that_is_gone_costs_its_files(own, tmp_path):
    packs = sorted((own.remote / "data/packs").rglob("*"), key=lambda path: path.stat().st_size)
    packs[-1].unlink()
    code, report, _ = call(own, "restore", own.points[2], "--to", str(tmp_path / "to"), "--no-local")
    assert code == 90
    assert 1 <= len(report["failed"]) <= 3
    assert all(packs[-1].name in reason for _, reason in report["failed"])
    missing = {f"missing: {os.fsencode(path)!r}" for path, _ in report["failed"]}
    assert set(differences(expected(own, 2), tmp_path / "to")) == missing


def test_a_damaged_byte_of_the_base_costs_its_file_and_names_the_pack(own, tmp_path):
    packs = sorted((own.remote / "restic/data").rglob("*"), key=lambda path: path.stat().st_size)
    flip(packs[-1], packs[-1].stat().st_size // 2)
    code, report, _ = call(own, "restore", own.points[0], "--to", str(tmp_path / "to"), "--no-local")
    assert code == 90
    ((path, reason),) = report["failed"]
    assert packs[-1].name[:8] in reason
    assert differences(expected(own, 0), tmp_path / "to") == [f"missing: {os.fsencode(path)!r}"]
