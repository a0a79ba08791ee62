"""The lab itself, seen from the machine that starts it: it must look like the command it runs."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LAB = str(Path(__file__).parent.parent / "scripts" / "zfs-lab")
EVERY_BYTE = bytes(range(256))
PATIENCE = 60  # seconds: far more than a start takes

STREAMS = """
import os, subprocess, sys
subprocess.Popen(["sleep", "1000"])  # left behind with our streams open
every = bytes(range(256))
sys.stdout.buffer.write(every * 4096)
sys.stderr.buffer.write(every[::-1] * 512)
sys.exit(7)
"""

MACHINE = """
import os, socket
assert os.getuid() == 0
assert os.path.exists("/dev/fuse")
assert not os.listdir("/run")
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
for name in ("TMPDIR", "LANG", "GIVEN", "ZDIFFSYNC_SEEN", "UNSEEN"):
    print(os.environ.get(name))
print(os.getcwd())
open("written", "x").close()
"""

ZFS = """
set -e
zpool create -f -o cachefile=none -m /mnt/tank tank /dev/ubda /dev/ubdb
echo old > /mnt/tank/file
zfs snapshot tank@a
echo new > /mnt/tank/file
cat /mnt/tank/.zfs/snapshot/a/file /mnt/tank/file
zpool list -Hpo size tank
zfs diff -FH tank@a
"""


def lab(*command, **keywords):
    return subprocess.run([LAB, *command], check=False, capture_output=True, timeout=PATIENCE, **keywords)


def start(*command, **keywords):
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([LAB, *command], **pipes | keywords)


@pytest.fixture
def traces(tmp_path):
    """A function that lists what labs with this TMPDIR have left: files, and processes that name it."""

    def left():
        needle = os.fsencode(tmp_path)
        commands = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                commands.append((process / "cmdline").read_bytes())
            except OSError:
                continue
        return [*tmp_path.iterdir(), *(command for command in commands if needle in command)]

    return left


def test_streams_are_apart_and_binary_and_the_exit_code_is_the_commands():
    done = lab(sys.executable, "-c", STREAMS, stdin=subprocess.DEVNULL)
    assert done.stdout == EVERY_BYTE * 4096
    assert done.stderr == EVERY_BYTE[::-1] * 512
    assert done.returncode == 7


def test_output_is_live_and_waits_for_input():
    with start("bash", "-c", "echo ready; read word; echo $word; cat | sha256sum") as process:
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(b"spoken\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"spoken\n"
        data = os.urandom(3_000_000)
        out, err = process.communicate(data, timeout=PATIENCE)
    assert out.split()[0].decode() == hashlib.sha256(data).hexdigest()
    assert (process.returncode, err) == (0, b"")


def test_machine_has_what_the_suite_needs(tmp_path):
    environment = os.environ | {"ZDIFFSYNC_SEEN": "seen", "UNSEEN": "unseen"}
    with start(
        "--env", "GIVEN=a b", sys.executable, "-c", MACHINE, env=environment, cwd=tmp_path, stdin=None
    ) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert out.decode().split("\n")[:-1] == ["/mnt/tmp", "C.UTF-8", "a b", "seen", "None", str(tmp_path)]
    assert (process.returncode, err) == (0, b"")
    assert [path.name for path in tmp_path.iterdir()] == ["written"]


def test_two_disks_make_a_pool_with_snapshots():
    done = lab("--disk", "1G", "--disk", "2G", "--mem", "1G", "bash", "-c", ZFS, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, b"")
    old, new, size, *changes = done.stdout.decode().splitlines()
    assert (old, new) == ("old", "new")
    assert 2 << 30 < int(size) < 3 << 30
    assert changes == ["M\tF\t/mnt/tank/file"]


def test_end_by_the_clock_and_by_a_signal_leaves_nothing(tmp_path, traces):
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with start("--timeout", "5", "sleep", "1000", env=environment) as slow:
        with start("bash", "-c", "echo up; sleep 1000", env=environment) as other:
            assert other.stdout.readline() == b"up\n"
            assert traces()
            other.send_signal(signal.SIGTERM)
            assert other.wait(PATIENCE) == 128 + signal.SIGTERM
        assert slow.wait(PATIENCE) == 124
    assert traces() == []


def test_lab_ends_with_the_one_that_started_it(tmp_path, traces):
    with start("bash", "-c", "echo up; sleep 1000", env=os.environ | {"TMPDIR": str(tmp_path)}) as process:
        assert process.stdout.readline() == b"up\n"
        process.kill()
    deadline = time.monotonic() + PATIENCE
    while [trace for trace in traces() if isinstance(trace, bytes)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_missing_command_is_named():
    done = lab("no-such-command", stdin=subprocess.DEVNULL)
    assert done.returncode == 127
    assert b"no-such-command" in done.stderr


def test_a_reader_that_leaves_ends_the_lab():
    with start("yes") as process:
        assert process.stdout.readline() == b"y\n"
        process.stdout.close()
        assert process.wait(PATIENCE) == 128 + signal.SIGPIPE


def test_host_is_refused_without_zfs():
    done = lab("--host", "true", env=os.environ | {"PATH": "/usr/bin:/bin"})
    assert done.returncode == 125
    assert b"--host needs this machine's own ZFS" in done.stderr
