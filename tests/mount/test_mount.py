"""The mount as its users meet it: real FUSE, the real command, a real repository."""

import contextlib
import hashlib
import os
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mounted_world import expected_path
from mounts import COMMAND, is_dead, wait_for
from oracle import states
from zdiffsync.external.fuse import dead_mounts


def sh(*argv, expect=0):
    done = subprocess.run(argv, check=False, capture_output=True, text=True, errors="surrogateescape")
    assert done.returncode == expect, (argv, done.stdout[:2000], done.stderr[:2000])
    return done.stdout


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_every_point_is_what_it_was(world, mount):
    mounted = mount(world)
    assert [path.name for path in mounted.points()] == [world.directory(number) for number in range(3)]
    for sequence, path in enumerate(mounted.points()):
        assert states(os.fspath(path)) == states(os.fspath(expected_path(world, sequence)))


def test_real_tools_find_no_difference(world, mount):
    for sequence, path in enumerate(mount(world).points()):
        expected = expected_path(world, sequence)
        assert sh("rsync", "-aHAXnci", "--delete", f"{expected}/", f"{path}/") == ""
        assert sh("rsync", "-aHAXnci", "--delete", f"{path}/", f"{expected}/") == ""
        sums = [
            sh("bash", "-c", 'tar --sort=name -c -C "$0" . | sha256sum', os.fspath(each))
            for each in (path, expected)
        ]
        assert sums[0] == sums[1]


def test_latest_leads_to_the_newest_point(world, mount):
    mounted = mount(world)
    latest = mounted.directory / "tank/data/latest"
    assert os.readlink(latest) == world.directory(2)
    assert (latest / "lots/007").read_bytes() == b"7\n"
    assert not (latest / "many").exists()


def test_numbers_tell_hard_links_and_keep_points_apart(world, mount):
    mounted = mount(world)
    first, second, third = mounted.points()
    one, other = os.stat(first / "docs/letter.txt"), os.stat(first / "letter too")
    assert (one.st_ino, one.st_nlink) == (other.st_ino, 2)
    assert len({os.stat(path / "docs/letter.txt").st_ino for path in (first, second, third)}) == 3
    before = {path: os.lstat(path).st_ino for path in sorted(mounted.directory.rglob("*"))}
    mounted.close()
    again = mount(world, directory=mounted.directory)
    assert {path: os.lstat(path).st_ino for path in sorted(again.directory.rglob("*"))} == before


def test_a_read_inside_a_large_file_gives_the_right_bytes(world, mount):
    latest = mount(world).directory / "tank/data/latest"
    wanted = (expected_path(world, 2) / "image").read_bytes()
    with (latest / "image").open("rb", buffering=0) as file:
        for offset in (0, 5 << 20, (5 << 20) - 3, 4095, len(wanted) - 5, len(wanted)):
            assert os.pread(file.fileno(), 4096, offset) == wanted[offset : offset + 4096]


def test_nothing_can_be_written(world, mount):
    latest = mount(world).directory / "tank/data/latest"
    for change in (
        (latest / "new").touch, lambda: (latest / "image").open("r+b"),
        (latest / "image").unlink, lambda: (latest / "docs").rename(latest / "papers"),
        lambda: os.setxattr(latest / "docs", "user.x", b""), lambda: os.chmod(latest / "docs", 0o777),
    ):  # fmt: skip
        with pytest.raises(OSError, match="Read-only"):
            change()


def test_what_is_not_there_is_not_there(world, mount):
    latest = mount(world).directory / "tank/data/latest"
    for path in ("nothing", "docs/nothing/below", "docs/letter.txt/below", "link"):
        assert not os.path.lexists(latest / path)
    assert os.listxattr(latest / "image") == []
    with pytest.raises(OSError, match="No data"):
        os.getxattr(latest / "docs", "user.none")


def test_eight_readers_at_once(world, mount):
    latest = mount(world).directory / "tank/data/latest"
    paths = [path for path in expected_path(world, 2).rglob("*") if path.is_file() and not path.is_symlink()]
    wanted = {path.relative_to(expected_path(world, 2)): digest(path) for path in paths}

    def read(_number):
        return {path: digest(latest / path) for path in wanted}

    with ThreadPoolExecutor(8) as pool:
        assert all(found == wanted for found in pool.map(read, range(8)))


def test_a_new_point_appears_and_latest_follows(fresh, mount):
    mounted = mount(fresh)
    latest = mounted.directory / "tank/data/latest"
    assert (latest / "docs/new").read_bytes() == b"new"
    (fresh.tree / "docs/new").write_bytes(b"newer")
    fresh.increment(changed=["docs/new"])
    wait_for(lambda: os.readlink(latest) == fresh.directory(3), "a new point")
    assert (latest / "docs/new").read_bytes() == b"newer"
    assert (mounted.points()[2] / "docs/new").read_bytes() == b"new"
    assert states(os.fspath(mounted.points()[3])) == states(os.fspath(expected_path(fresh, 3)))


def test_two_mounts_at_once(world, mount):
    one, other = mount(world), mount(world)
    assert digest(one.points()[2] / "image") == digest(other.points()[2] / "image")
    one.close()
    assert digest(other.points()[1] / "image") == digest(expected_path(world, 1) / "image")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_unmounts(world, mount, number):
    mounted = mount(world)
    rclone = mounted.rclone()
    busy = os.open(mounted.points()[0] / "image", os.O_RDONLY)
    os.read(busy, 10)
    mounted.process.send_signal(number)
    assert mounted.end() == (0, "")
    with pytest.raises(OSError, match="not connected"):
        os.pread(busy, 10, 8 << 20)
    with contextlib.suppress(OSError):
        os.close(busy)
    assert not os.path.ismount(mounted.directory)
    assert os.listdir(mounted.directory) == []
    assert rclone is None or not Path(f"/proc/{rclone}").exists()


def test_unmounting_ends_the_process(world, mount):
    mounted = mount(world)
    list(mounted.points())
    sh("fusermount3", "-u", mounted.directory)
    assert mounted.end() == (0, "")


def test_unmounting_while_somebody_reads(world, mount):
    mounted = mount(world)
    image, stop, failed = mounted.points()[2] / "image", threading.Event(), []

    def read():
        wanted = digest(expected_path(world, 2) / "image")
        while not stop.is_set():
            try:
                if digest(image) != wanted:
                    failed.append("other bytes")
            except OSError:
                return

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    sh("fusermount3", "-uz", mounted.directory)
    for reader in readers:
        reader.join(30)
    stop.set()
    assert mounted.end() == (0, "")
    assert not failed


def test_what_a_killed_mount_leaves_is_cleaned_by_the_next(world, mount):
    mounted = mount(world)
    rclone = mounted.rclone()
    mounted.process.kill()
    mounted.process.wait()
    assert is_dead(mounted.directory)
    assert str(mounted.directory) in dead_mounts()
    if rclone is not None:
        wait_for(lambda: not Path(f"/proc/{rclone}").exists(), "the end of rclone")
    again = mount(world, directory=mounted.directory)
    assert len(again.points()) == 3


class TestInTheBackground:
    def mount(self, world, directory, *options, expect=0):
        argv = [COMMAND, "-c", world.config, "mount", *options, directory]
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == expect, done
        return done

    def test_it_returns_when_the_mount_is_there(self, world, tmp_path):
        done = self.mount(world, tmp_path)
        try:
            assert done.stdout == f"mounted on {tmp_path}; unmount with: fusermount3 -u {tmp_path}\n"
            assert (tmp_path / "tank/data/latest/docs/new").read_bytes() == b"new"
        finally:
            sh("fusermount3", "-u", tmp_path)
        assert (world.state / "mount.log").stat().st_mode & 0o777 == 0o600

    def test_it_says_what_is_wrong_and_mounts_nothing(self, fresh, tmp_path):
        place = tmp_path / "here"
        done = self.mount(fresh, place, expect=2)
        assert done.stderr == f"zdiffsync: {place} does not exist; make it with mkdir first\n"
        (place / "mine").mkdir(parents=True)
        done = self.mount(fresh, place, expect=2)
        assert done.stderr == f"zdiffsync: {place} is not empty; mount on an empty directory\n"
        (tmp_path / "file").touch()
        assert "is not a directory" in self.mount(fresh, tmp_path / "file", expect=2).stderr

    def test_a_wrong_password_shows(self, fresh, tmp_path):
        (fresh.home / "password").write_bytes(b"wrong")
        (tmp_path / "here").mkdir()
        assert "password does not open" in self.mount(fresh, tmp_path / "here", expect=2).stderr
        assert not os.path.ismount(tmp_path / "here")

    def test_a_missing_remote_shows(self, fresh, tmp_path):
        fresh.remote.rename(fresh.home / "elsewhere")
        (tmp_path / "here").mkdir()
        assert self.mount(fresh, tmp_path / "here", expect=2).stderr.startswith("zdiffsync: there is no")


def test_other_users_are_kept_out_unless_let_in(world, mount):
    def read(path):
        argv = ["setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups", "cat", path]
        return subprocess.run(argv, check=False, capture_output=True).stdout

    for directory in Path(mount(world).directory).parents:
        directory.chmod(directory.stat().st_mode | 0o011)
    alone, shared = mount(world), mount(world, "--allow-other")
    path = "tank/data/latest/docs/notes.md"
    assert read(alone.directory / path) == b""
    assert read(shared.directory / path) == b"first\nsecond\n"  # by its ACL alone
    assert read(shared.directory / "tank/data/latest/locked") == b""


class TestVersions:
    def test_each_version_of_a_file_is_named_by_the_first_point_that_has_it(self, world, mount):
        versions = mount(world).directory / "tank/data/.versions"
        days = [world.directory(number) for number in range(3)]
        assert sorted(os.listdir(versions / "image")) == days
        assert sorted(os.listdir(versions / "docs/notes.md")) == [f"{days[0]}.md", f"{days[1]}.md"]
        for sequence, day in enumerate(days):
            assert digest(versions / "image" / day) == digest(expected_path(world, sequence) / "image")
        assert (versions / "docs/notes.md" / f"{days[1]}.md").stat().st_size == len("first\nsecond\n")

    def test_what_is_gone_or_was_elsewhere_is_there(self, world, mount):
        versions = mount(world).directory / "tank/data/.versions"
        first, _, last = (world.directory(number) for number in range(3))
        assert os.readlink(versions / "link" / first) == "docs/letter.txt"
        assert (versions / "many/042" / first).read_bytes() == b"42\n"
        assert (versions / "lots/042" / last).read_bytes() == b"42\n"
        assert os.path.lexists(versions / "inv\udcff\n'\"\\name" / first)

    def test_it_is_found_but_not_listed(self, world, mount):
        data = mount(world).directory / "tank/data"
        assert ".versions" not in os.listdir(data)
        assert (data / ".versions").is_dir()
        assert not (data / ".versions/nothing").exists()

    def test_a_version_is_the_file_of_a_point(self, world, mount):
        mounted = mount(world)
        version = mounted.directory / "tank/data/.versions/docs/new" / world.directory(1)
        assert os.path.samefile(version, mounted.points()[1] / "docs/new")

    def test_new_points_bring_new_versions(self, fresh, mount):
        data = mount(fresh).directory / "tank/data"
        versions = data / ".versions/docs"
        assert os.listdir(versions / "new") == [fresh.directory(1)]
        assert not (versions / "newest").exists()
        held = os.open(versions / "new", os.O_RDONLY)
        (fresh.tree / "docs/new").write_bytes(b"newer")
        (fresh.tree / "docs/newest").write_bytes(b"newest")
        fresh.increment(changed=["docs/new", "docs/newest"])
        wait_for(lambda: os.readlink(data / "latest") == fresh.directory(3), "a new point")
        wait_for((versions / "newest").exists, "a new name")
        assert sorted(os.listdir(versions / "new")) == [fresh.directory(1), fresh.directory(3)]
        assert len(os.listdir(f"/proc/self/fd/{held}")) == 2
        os.close(held)
