"""Uploads end in time, leave no process behind and show no secret."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from zdiffsync.errors import RemoteError
from zdiffsync.external import rclone_upload
from zdiffsync.external.rclone_env import DATA, crypt_setup, plain_setup
from zdiffsync.external.rclone_upload import check_name, upload

SIZE = 8 << 20


def processes():
    """Return {pid: (parent, argv)} of all that run."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            argv = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            found[int(folder.name)] = (int(parent), argv)
    return found


def below(root):
    """Return {pid: argv} of the descendants of process `root`."""
    running, family = processes(), {root}
    for _ in range(5):
        family |= {pid for pid, (parent, _argv) in running.items() if parent in family}
    return {pid: running[pid][1] for pid in family - {root} if pid in running}


def wait_for(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return value


def uploaders(root=None):
    return {
        pid: argv
        for pid, argv in below(root or os.getpid()).items()
        if "--files-from-raw" in " ".join(argv) or "zdiffsync.external.rclone_worker" in argv
    }


def rclone_of(root=None):
    return next(
        (pid for pid, argv in uploaders(root).items() if argv[0].endswith("rclone") and "copy" in argv), None
    )


@pytest.fixture
def stage(tmp_path):
    folder = tmp_path / "stage"
    folder.mkdir()
    (folder / "big").write_bytes(os.urandom(SIZE))
    return folder


@pytest.fixture
def slow(tmp_path):
    """A remote that takes a MiB a second."""
    return crypt_setup(plain_setup(str(tmp_path / "remote"), bwlimit="1M"), "first-secret", "second-secret")


class Background(threading.Thread):
    """An upload in a thread of its own, and what it raised."""

    def __init__(self, setup, stage, progress=lambda _sent: None):
        super().__init__()
        self.arguments = (setup, DATA, stage, ["big"], progress)
        self.error = None
        self.start()

    def run(self):
        try:
            upload(*self.arguments)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error


def test_a_killed_rclone_is_a_remote_error(slow, stage, tmp_path):
    running = Background(slow, stage)
    os.kill(wait_for(rclone_of), signal.SIGKILL)
    running.join(20)
    assert isinstance(running.error, RemoteError)
    assert "the upload failed" in str(running.error)
    assert uploaders() == {}
    assert not (tmp_path / "remote/data/big").exists(), "half an object under its final name"


def test_a_killed_worker_takes_rclone_along(slow, stage):
    running = Background(slow, stage)
    wait_for(rclone_of)
    worker = next(pid for pid, argv in uploaders().items() if "zdiffsync.external.rclone_worker" in argv)
    os.kill(worker, signal.SIGKILL)
    running.join(20)
    assert isinstance(running.error, RemoteError)
    assert "the upload broke off" in str(running.error)
    wait_for(lambda: not uploaders())


def test_a_standing_upload_is_ended(slow, stage, monkeypatch):
    monkeypatch.setattr(rclone_upload, "_STALL", 2.0)
    running = Background(slow, stage)
    rclone = wait_for(rclone_of)
    os.kill(rclone, signal.SIGSTOP)
    running.join(30)
    assert isinstance(running.error, RemoteError)
    assert "stood still for 2 s" in str(running.error)
    wait_for(lambda: not uploaders())
    wait_for(lambda: not os.path.exists(f"/proc/{rclone}"))


def test_an_error_of_the_listener_ends_the_upload(slow, stage):
    running = Background(slow, stage, progress=lambda sent: 1 / (sent - sent))
    running.join(20)
    assert isinstance(running.error, ZeroDivisionError)
    assert uploaders() == {}


def test_nothing_goes_on_when_we_are_killed(tmp_path, stage):
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from zdiffsync.external.rclone_env import PLAIN, plain_setup\n"
        "from zdiffsync.external.rclone_upload import upload\n"
        f"setup = plain_setup({str(tmp_path / 'remote')!r}, bwlimit='1M')\n"
        f"upload(setup, PLAIN, Path({str(stage)!r}), ['big'], lambda sent: None)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment) as parent:
        wait_for(lambda: rclone_of(parent.pid))
        pids = set(uploaders(parent.pid))
        parent.kill()
    wait_for(lambda: not pids & set(processes()))


def test_no_secret_shows_while_uploading(slow, stage, capfd, caplog):
    running = Background(slow, stage)
    wait_for(rclone_of)
    argv = "\n".join(" ".join(argv) for argv in below(os.getpid()).values())
    os.kill(rclone_of(), signal.SIGKILL)
    running.join(20)
    printed = "".join(capfd.readouterr()) + caplog.text + str(running.error)
    secrets = ["first-secret", "second-secret"]
    secrets += [value for name, value in slow.environment.items() if "ZDDATA_PASSWORD" in name]
    assert len(secrets) == 4
    for secret in secrets:
        assert secret not in argv
        assert secret not in printed
        assert secret not in os.environ.values()


def test_a_finished_upload_prints_nothing(tmp_path, stage, capfd):
    upload(plain_setup(str(tmp_path / "remote")), "zdplain:", stage, ["big"], lambda _sent: None)
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "remote/big").read_bytes() == (stage / "big").read_bytes()


def test_progress_comes_while_it_goes(slow, stage):
    (stage / "big").write_bytes(os.urandom(3 << 20))
    seen = []
    upload(slow, DATA, stage, ["big"], lambda sent: seen.append((time.monotonic(), sent)))
    assert len(seen) >= 3
    assert seen[-1][0] - seen[0][0] > 0.3
    assert 0 < sum(sent for _when, sent in seen) <= (3 << 20) + 4096


def test_an_unreadable_staging_folder_is_an_error(tmp_path):
    with pytest.raises(Exception, match="cannot be started"):
        upload(plain_setup(str(tmp_path)), "zdplain:", tmp_path / "none", ["a"], lambda _sent: None)


@pytest.mark.parametrize("name", ["a", "packs/ab/0123", "points/x/000001.manifest", "RECOVERY.md", "a.b_c-d"])
def test_our_names_pass(name):
    assert check_name(name) == name
