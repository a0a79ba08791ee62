"""The long-lived rclone: private, restarted, never left behind."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from zdiffsync.errors import ObjectMissingError, RemoteError, ToolMissingError
from zdiffsync.external.rclone_daemon import RcloneDaemon
from zdiffsync.external.rclone_env import PLAIN, crypt_setup, plain_setup
from zdiffsync.external.rclone_read import read_chunks


def state(pid):
    """Return the letter /proc shows, 'Z' also for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def gone(pid, seconds=5.0):
    end = time.monotonic() + seconds
    while state(pid) != "Z" and time.monotonic() < end:
        time.sleep(0.02)
    return state(pid) == "Z"


def socket_of(pid):
    argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return Path(os.fsdecode(argv[argv.index(b"--rc-addr") + 1])[len("unix://") :])


@pytest.fixture
def daemon(tmp_path):
    opened = RcloneDaemon(plain_setup(str(tmp_path)))
    yield opened
    opened.close()


def test_nothing_starts_before_the_first_call(daemon):
    assert daemon.pid is None
    assert daemon.call("rc/noop", a=[1]) == {"a": [1]}
    assert daemon.pid is not None


def test_the_socket_is_private_and_needs_the_password(daemon):
    daemon.call("rc/noop")
    path = socket_of(daemon.pid)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"POST /rc/noop HTTP/1.0\r\n\r\n")
        assert b" 401 " in connection.recv(4096)
    daemon.close()
    assert not path.parent.exists()


def test_secrets_are_not_in_argv(tmp_path):
    setup = crypt_setup(plain_setup(str(tmp_path)), "first-secret", "second-secret")
    daemon = RcloneDaemon(setup)
    try:
        daemon.call("rc/noop")
        argv = Path(f"/proc/{daemon.pid}/cmdline").read_bytes().decode()
    finally:
        daemon.close()
    for name, value in setup.environment.items():
        if "PASSWORD" in name and name != "RCLONE_ASK_PASSWORD":
            assert value not in argv
    assert "secret" not in argv


def test_a_killed_rclone_is_started_again(daemon, tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    daemon.call("rc/noop")
    first = daemon.pid
    os.kill(first, signal.SIGKILL)
    assert b"".join(read_chunks(daemon, PLAIN, "a")) == b"content"
    assert daemon.pid != first
    assert gone(first)


def test_an_rclone_killed_while_an_object_is_read(daemon, tmp_path):
    data = os.urandom(64 << 20)
    (tmp_path / "big").write_bytes(data)
    chunks = read_chunks(daemon, PLAIN, "big")
    got = next(chunks)
    os.kill(daemon.pid, signal.SIGKILL)
    assert got + b"".join(chunks) == data


def test_an_rclone_killed_under_many_callers(daemon, tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    daemon.call("rc/noop")
    got, wrong = [], []

    def read():
        try:
            got.extend(b"".join(read_chunks(daemon, PLAIN, "a")) for _ in range(15))
        except RemoteError as error:
            wrong.append(str(error))

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    os.kill(daemon.pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert wrong == []
    assert got == [b"content"] * 90


def test_close_ends_it_and_further_calls(daemon):
    daemon.call("rc/noop")
    pid = daemon.pid
    daemon.close()
    assert gone(pid)
    with pytest.raises(RemoteError, match="is closed"):
        daemon.call("rc/noop")


def test_it_outlives_the_thread_that_called_first(daemon):
    thread = threading.Thread(target=daemon.call, args=("rc/noop",))
    thread.start()
    thread.join()
    first = daemon.pid
    time.sleep(0.2)
    daemon.call("rc/noop")
    assert daemon.pid == first


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os._exit(0)", "sys.exit()"])
def test_it_ends_with_us_however_we_end(tmp_path, end):
    script = (
        "import os, sys\n"
        "from zdiffsync.external.rclone_daemon import RcloneDaemon\n"
        "from zdiffsync.external.rclone_env import plain_setup\n"
        f"daemon = RcloneDaemon(plain_setup({str(tmp_path)!r}))\n"
        "daemon.call('rc/noop')\n"
        "print(daemon.pid, flush=True)\n"
        "sys.stdin.read()\n" + end
    )
    with TemporaryDirectory(prefix="zd") as short:  # a socket's path is limited to 107 bytes
        environment = {**os.environ, "TMPDIR": short}
        with subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        ) as parent:
            pid = int(parent.stdout.readline())
            assert not gone(pid, 0.1)
        assert gone(pid)


def test_errors_carry_what_rclone_said(daemon):
    with pytest.raises(ObjectMissingError, match="operations/list"):
        daemon.call("operations/list", fs=PLAIN, remote="nowhere")
    with pytest.raises(RemoteError, match="bad bwlimit"):
        daemon.call("core/bwlimit", rate="nonsense")
    assert daemon.call("core/bwlimit", rate="1M")["bytesPerSecond"] == 1 << 20


def test_a_bandwidth_limit_nobody_understands(tmp_path):
    daemon = RcloneDaemon(plain_setup(str(tmp_path), bwlimit="nonsense"))
    with pytest.raises(RemoteError, match=r"rclone did not start: .*nonsense"):
        daemon.call("rc/noop")
    assert daemon.pid is None


def test_an_rclone_that_was_removed(tmp_path):
    setup = plain_setup(str(tmp_path))
    missing = type(setup)(setup.remote, str(tmp_path / "rclone"), setup.environment)
    with pytest.raises(ToolMissingError, match="rclone is not installed"):
        RcloneDaemon(missing).call("rc/noop")


def test_no_answer_is_an_error(tmp_path):
    daemon = RcloneDaemon(plain_setup(str(tmp_path), patience=0.3))
    daemon.call("rc/noop")
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        while state(daemon.pid) != "T":
            time.sleep(0.01)
        with pytest.raises(RemoteError, match=r"no answer within 0\.3 s"):
            daemon.call("rc/noop")
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
        daemon.close()
