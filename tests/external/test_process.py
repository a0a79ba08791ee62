"""Tools are ended in time, read to the end, and never outlive us."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zdiffsync.errors import ToolError, ToolMissingError, ToolStalledError
from zdiffsync.external.process import run_tool, start_tool, stream_tool


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(pid: int, seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


def test_output_input_and_exit_code_come_back():
    done = run_tool(["sh", "-c", "cat; echo no >&2; exit 3"], timeout=10, input=b"a\0b")
    assert (done.stdout, done.stderr, done.returncode) == (b"a\0b", b"no\n", 3)


def test_arguments_pass_unchanged_without_a_shell():
    odd = [b"$HOME", b"`id`", b'"', b"\xff\n", b"; false"]
    assert run_tool(["printf", "%s|", *odd], timeout=10).stdout == b"|".join(odd) + b"|"


def test_without_input_a_tool_reads_nothing():
    assert run_tool(["cat"], timeout=10).stdout == b""


def test_environment_is_added_to_ours(monkeypatch):
    monkeypatch.setenv("ZD_KEPT", "1")
    done = run_tool(["sh", "-c", "echo $ZD_KEPT $ZD_ADDED $LC_ALL"], timeout=10, env={"ZD_ADDED": "2"})
    assert done.stdout == b"1 2 C.UTF-8\n"


def test_directory_and_descriptors_are_handed_on(tmp_path):
    (tmp_path / "here").touch()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        done = run_tool(["ls"], timeout=10, cwd=f"/proc/self/fd/{descriptor}", pass_fds=(descriptor,))
    finally:
        os.close(descriptor)
    assert done.stdout == b"here\n"


def test_a_missing_tool_names_its_package(monkeypatch, tmp_path):
    (tmp_path / "setpriv").symlink_to("/usr/bin/setpriv")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissingError, match="zfsutils-linux"):
        run_tool(["zfs", "list"], timeout=10)


def test_a_missing_directory_is_named():
    with pytest.raises(ToolError, match="/nowhere/at/all"):
        run_tool(["true"], timeout=10, cwd="/nowhere/at/all")


def test_a_tool_that_does_not_end_is_ended():
    started = time.monotonic()
    with pytest.raises(ToolStalledError, match=r"sleep did not end within 0\.2 s"):
        run_tool(["sleep", "60"], timeout=0.2)
    assert time.monotonic() - started < 5


def test_stream_gives_all_bytes_and_both_ways_of_reading():
    with stream_tool(["sh", "-c", "seq 100000; echo end >&2; exit 4"], stall=10) as running:
        assert running.stdout.read(4) == b"1\n2\n"
        lines = list(running.stdout)
        done = running.wait()
    assert lines[-1] == b"100000\n"
    assert len(lines) == 99998
    assert (done.stderr, done.returncode) == (b"end\n", 4)


def test_much_on_stderr_does_not_block_stdout():
    script = "import sys; sys.stderr.write('e' * 3_000_000 + 'last'); print('out')"
    with stream_tool([sys.executable, "-c", script], stall=10) as running:
        assert running.stdout.read() == b"out\n"
        done = running.wait()
    assert len(done.stderr) == 1 << 20
    assert done.stderr.endswith(b"elast")


def test_waiting_discards_what_was_not_read():
    with stream_tool(["head", "-c", "5000000", "/dev/zero"], stall=10) as running:
        assert running.wait().returncode == 0


def test_silence_ends_a_stream():
    with stream_tool(["sh", "-c", "echo one; exec sleep 60"], stall=0.3) as running:
        assert running.stdout.readline() == b"one\n"
        with pytest.raises(ToolStalledError, match=r"sh said nothing for 0\.3 s"):
            running.stdout.readline()
        assert not alive(running.pid)


def test_silence_after_the_end_of_output_ends_a_stream():
    with (
        stream_tool(["sh", "-c", "exec >&- 2>&-; exec sleep 60"], stall=0.3) as running,
        pytest.raises(ToolStalledError),
    ):
        running.wait()


def test_words_on_stderr_keep_a_stream_alive():
    script = "for i in 1 2 3 4 5 6; do sleep 0.2; echo $i >&2; done; echo done"
    with stream_tool(["sh", "-c", script], stall=0.7) as running:
        assert running.stdout.read() == b"done\n"


def test_a_slow_reader_is_no_stall():
    with stream_tool(["sh", "-c", "echo one; echo two"], stall=0.2) as running:
        assert running.stdout.readline() == b"one\n"
        time.sleep(0.5)
        assert running.stdout.readline() == b"two\n"
        assert running.wait().returncode == 0


def test_leaving_early_ends_the_whole_group():
    with stream_tool(["sh", "-c", "sleep 60 & echo $!; wait"], stall=10) as running:
        grandchild = int(running.stdout.readline())
        assert alive(grandchild)
    assert gone(grandchild)
    assert gone(running.pid)


def test_an_error_in_the_body_ends_the_tool():
    with pytest.raises(ZeroDivisionError), stream_tool(["sleep", "60"], stall=10) as running:
        raise ZeroDivisionError
    assert gone(running.pid)


def test_a_tool_that_ignores_the_polite_signal_is_killed(monkeypatch):
    monkeypatch.setattr("zdiffsync.external.process._GRACE", 0.3)
    with stream_tool(
        ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"], stall=10
    ) as running:
        assert running.stdout.readline() == b"ready\n"
    assert gone(running.pid)


def test_a_tool_that_cannot_be_killed_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("zdiffsync.external.process._GRACE", 0.1)
    started = time.monotonic()
    with monkeypatch.context() as hung:
        hung.setattr(os, "killpg", lambda _group, _number: None)
        with start_tool(["sleep", "60"]) as child:
            pass
    assert time.monotonic() - started < 2
    assert alive(child.pid)
    child.kill()
    child.wait()


def test_a_killed_parent_takes_its_tool_along():
    script = (
        "from zdiffsync.external.process import stream_tool\n"
        "with stream_tool(['sleep', '60'], stall=100) as running:\n"
        "    print(running.pid, flush=True)\n"
        "    running.stdout.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(0.3)
        assert alive(pid)
        parent.send_signal(signal.SIGKILL)
    assert gone(pid)
