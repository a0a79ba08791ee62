"""The lock between real processes."""

import os
import signal
import subprocess
import sys

import pytest

from zdiffsync.errors import ConfigError, ExitCode, LockedError
from zdiffsync.external.lock import exclusive

HOLDER = """
import sys
from pathlib import Path
from zdiffsync.external.lock import exclusive
with exclusive(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "lock"


@pytest.fixture
def holder(path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout.readline() == b"held\n"
        yield child
        if child.poll() is None:
            child.kill()


def test_the_second_is_told_who_holds_it(path, holder):
    with pytest.raises(LockedError) as caught, exclusive(path, "prune"):
        pass
    message = str(caught.value)
    assert f"zdiffsync run (process {holder.pid}, since 2" in message
    assert str(path) in message
    assert caught.value.exit_code == ExitCode.LOCKED == 11
    assert path.read_bytes().startswith(b'{"pid": %d' % holder.pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_holder_frees_it(path, holder, number):
    holder.send_signal(number)
    holder.wait()
    with exclusive(path, "prune"):
        assert b'"what": "prune"' in path.read_bytes()


def test_leaving_frees_it_also_by_an_error(path):
    with pytest.raises(RuntimeError, match="stop"), exclusive(path, "run"):
        raise RuntimeError("stop")
    with exclusive(path, "run"):
        pass


def test_one_process_cannot_take_it_twice(path):
    with (
        exclusive(path, "run"),
        pytest.raises(LockedError, match=f"process {os.getpid()}"),
        exclusive(path, "ls"),
    ):
        pass


def test_a_child_of_the_holder_does_not_inherit_it(path):
    with exclusive(path, "run"), subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        pass_on = child
        try:
            held = {os.readlink(f"/proc/{child.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{child.pid}/fd")}
            assert str(path) not in held
        finally:
            pass_on.kill()


def test_a_longer_old_text_leaves_nothing_behind(path):
    path.parent.mkdir()
    path.write_text("x" * 5000)
    with exclusive(path, "run"):
        assert path.read_text().endswith('Z"}')


@pytest.mark.usefixtures("holder")
@pytest.mark.parametrize(
    "content", [b"", b"not json", b"{}", b"[]", b"5", b"null", b"\xff\xfe", b'{"what": "run']
)
def test_a_holder_that_says_nothing_useful(path, content):
    path.write_bytes(content)
    with pytest.raises(LockedError, match="another zdiffsync process holds"), exclusive(path, "run"):
        pass


def test_the_file_is_private(path):
    before = os.umask(0)
    try:
        with exclusive(path, "run"):
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.parent.stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)


def test_where_no_lock_can_be(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file" / "lock", tmp_path):
        with (
            pytest.raises(ConfigError, match=r"cannot open the lock .*; set state_dir"),
            exclusive(place, "run"),
        ):
            pass
