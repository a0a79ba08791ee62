"""The command line as people meet it first: help, mistakes, missing things. None of it needs ZFS."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from setup_cache import path_with_tools
from zdiffsync import __version__
from zdiffsync.cli.main import group, invoke
from zdiffsync.errors import ExitCode

COMMANDS = group.list_commands(None)


def call(capfd, *arguments):
    """Run a command in this process: (exit code, standard output, standard error)."""
    code = invoke([os.fspath(argument) for argument in arguments])
    out, err = capfd.readouterr()
    return code, out, err


def one_sentence(text):
    """A complaint is one line that names the program, without a traceback."""
    assert text.startswith("zdiffsync: ")
    assert text.count("\n") == 1
    return text


@pytest.fixture
def restic(monkeypatch):
    """A restic new enough, where scripts/setup has put it or the system has it."""
    monkeypatch.setenv("PATH", path_with_tools())


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user's empty home; `config` below it is the file that is used when none is named."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    return tmp_path


@pytest.fixture
def config(tmp_path):
    """A configuration file that names a remote without a repository."""
    password = tmp_path / "password"
    password.touch(0o600)
    password.write_text("secret\n")
    path = tmp_path / "config.toml"
    path.write_text(
        f'remote = "{tmp_path}/remote"\npassword_file = "{password}"\nstate_dir = "{tmp_path}/state"\n'
        '[[dataset]]\nname = "tank/data"\n'
    )
    return path


@pytest.fixture
def repository(config, capfd, restic):  # noqa: ARG001 - restic has to be on PATH
    assert call(capfd, "-c", config, "init")[0] == ExitCode.DONE
    return config


def test_version(capfd):
    assert call(capfd, "--version") == (0, f"zdiffsync, version {__version__}\n", "")


def test_help_names_every_command(capfd):
    code, out, err = call(capfd, "--help")
    assert (code, err) == (0, "")
    assert all(f"\n  {name} " in out for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_needs_nothing_else(capfd, home, command):  # noqa: ARG001 - no configuration there
    for flag in ("-h", "--help"):
        code, out, err = call(capfd, command, flag)
        assert (code, err) == (0, "")
        assert out.startswith(f"Usage: zdiffsync {command}")
        assert len(group.get_command(None, command).get_short_help_str(100)) > 10


def test_the_installed_program(tmp_path):
    """The entry point, in a process of its own."""
    done = subprocess.run(
        [Path(sys.executable).parent / "zdiffsync", "-c", tmp_path / "none", "points"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "run zdiffsync init" in one_sentence(done.stderr)


MISTAKES = [
    ["nonsense"], ["--nonsense"], ["ls"], ["cat"], ["restore"], ["run", "--nonsense"], ["points", "a", "b"],
    ["ls", "latest", "more"], ["restore", "latest", "--overwrite", "maybe"], ["-c"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_usage_errors(capfd, arguments):
    code, out, err = call(capfd, *arguments)
    assert (code, out) == (2, "")
    assert "Error: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_usage_errors_as_json(capfd, arguments):
    code, out, err = call(capfd, "--json", *arguments)
    assert (code, err) == (2, "")
    assert json.loads(out).keys() == {"error", "exit_code"}
    assert json.loads(out)["exit_code"] == 2


def test_no_command_shows_the_help(capfd):
    code, out, err = call(capfd)
    assert code == 2
    assert "Commands:" in out + err


@pytest.mark.parametrize(
    "arguments",
    [["run"], ["points"], ["ls", "latest"], ["cat", "latest:f"], ["restore", "latest", "--to", "x"]],
)
def test_no_configuration(capfd, home, arguments):
    code, out, err = call(capfd, *arguments)
    assert (code, out) == (2, "")
    expected = f"there is no configuration file {home}/.config/zdiffsync/config.toml; run zdiffsync init"
    assert expected in one_sentence(err)
    code, out, err = call(capfd, "--json", *arguments)
    assert (code, json.loads(out)["exit_code"], err) == (2, 2, "")


def test_a_wrong_configuration(capfd, config):
    config.write_text(config.read_text().replace("state_dir", "state_dri"))
    code, _, err = call(capfd, "-c", config, "points")
    assert code == 2
    assert f"{config}: unknown key 'state_dri'; did you mean 'state_dir'?" in one_sentence(err)


def test_restore_wants_to_know_where(capfd, config):
    for arguments in ([], ["--to", "x", "--in-place"]):
        code, _, err = call(capfd, "-c", config, "restore", "latest", *arguments)
        assert code == 2
        assert "say where to restore" in one_sentence(err)


def test_a_dataset_that_is_not_configured(capfd, config):
    code, _, err = call(capfd, "-c", config, "run", "tank/other")
    assert code == 2
    assert "tank/other is not configured; configured are tank/data" in one_sentence(err)
    config.write_text(config.read_text().partition("[[")[0])
    code, _, err = call(capfd, "-c", config, "run")
    assert code == 2
    assert "add a [[dataset]] table" in one_sentence(err)


@pytest.mark.parametrize("arguments", [["run"], ["points"], ["ls", "latest"]])
def test_no_repository(capfd, config, tmp_path, arguments):
    code, _, err = call(capfd, "-c", config, *arguments)
    assert code == 2
    assert f"there is no zdiffsync repository at {tmp_path}/remote; run zdiffsync init" in one_sentence(err)


def test_a_remote_rclone_does_not_know(capfd, config):
    config.write_text(
        config.read_text().replace('remote = "', 'remote = "nowhere:').replace("remote/remote", "r")
    )
    code, _, err = call(capfd, "-c", config, "ls", "latest")
    assert code in {ExitCode.USAGE, ExitCode.REMOTE}
    assert "nowhere" in one_sentence(err)


@pytest.mark.usefixtures("restic")
def test_init_from_nothing(capfd, home):
    remote, path = home / "remote", home / ".config/zdiffsync/config.toml"
    before = os.umask(0)
    try:
        code, out, err = call(capfd, "init", "--remote", remote, "--dataset", "tank/a b", "--recursive")
    finally:
        os.umask(before)
    assert (code, err) == (0, "")
    password = path.parent / "password"
    for name in (path, password):
        assert f"wrote {name}" in out
        assert name.stat().st_mode & 0o777 == 0o600
    assert "without it nobody can restore" in out
    assert len(password.read_text().strip()) >= 40
    assert password.read_text().strip() not in out
    assert sorted(os.listdir(remote)) == ["RECOVERY.md", "data", "recover.py", "restic", "zdiffsync.json"]
    code, out, err = call(capfd, "points")
    assert (code, err) == (0, "")
    assert out == "no restore points yet; make one with zdiffsync run\n"
    code, _, err = call(capfd, "init", "--remote", remote)
    assert code == 2
    assert f"{path} exists already; change it there" in one_sentence(err)
    code, out, err = call(capfd, "init")
    assert (code, err) == (0, "")
    assert f"was there already at {remote}" in out
    (path.parent / "password").unlink()
    code, _, err = call(capfd, "init")
    assert code == 2
    assert "already holds a repository" in one_sentence(err)


def test_init_without_a_remote(capfd, home):
    code, _, err = call(capfd, "init")
    assert code == 2
    assert "say where to back up to with --remote" in one_sentence(err)
    assert not (home / ".config").exists()


def test_no_points_yet(capfd, repository):
    for command in (["ls", "latest"], ["cat", "latest:f"], ["restore", "latest", "--to", "/nonexistent"]):
        code, _, err = call(capfd, "-c", repository, *command)
        assert code == 2
        assert "there are no restore points yet; make one with zdiffsync run" in one_sentence(err)
    code, out, err = call(capfd, "-c", repository, "--json", "points")
    assert (code, json.loads(out), err) == (0, {"points": []}, "")
    assert call(capfd, "-q", "-c", repository, "points") == (0, "", "")


def test_the_wrong_password(capfd, repository, tmp_path):
    (tmp_path / "password").write_text("other\n")
    code, out, err = call(capfd, "-c", repository, "points")
    assert (code, out) == (2, "")
    assert "the password does not open the repository" in one_sentence(err)
    assert "other" not in err.replace("another", "")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.unlink(), "cannot read the password file"),
        (lambda path: path.write_text(""), "is empty"),
        (lambda path: path.chmod(0o644), "chmod 600"),
    ],
)
def test_a_password_file_that_will_not_do(capfd, config, tmp_path, spoil, words):
    spoil(tmp_path / "password")
    code, _, err = call(capfd, "-c", config, "run")
    assert code == 2
    assert words in one_sentence(err)


def test_no_zfs(capfd, repository, tmp_path, monkeypatch):
    tools = tmp_path / "tools"
    tools.mkdir()
    for folder in os.environ["PATH"].split(":"):
        for name in ("rclone", "restic", "setpriv", "sh"):
            if (Path(folder) / name).exists() and not (tools / name).exists():
                (tools / name).symlink_to(Path(folder) / name)
    monkeypatch.setenv("PATH", str(tools))
    code, out, err = call(capfd, "-c", repository, "run")
    assert code == ExitCode.TOOL == 4
    assert "install zfsutils-linux" in out + err
    code, out, _ = call(capfd, "-c", repository, "--json", "run")
    assert json.loads(out)["exit_code"] == code == 4


def test_a_damaged_catalog(capfd, repository, tmp_path):
    (tmp_path / "state" / "catalog.sqlite").parent.mkdir(exist_ok=True)
    (tmp_path / "state" / "catalog.sqlite").write_bytes(b"rubbish" * 1000)
    code, _, err = call(capfd, "-c", repository, "points")
    assert code == ExitCode.CATALOG == 6
    assert "delete it, it is made again from the remote" in one_sentence(err)


HOLDER = """
import sys
from pathlib import Path
from zdiffsync.external.lock import exclusive
with exclusive(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_runs_at_once(capfd, config, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "state" / "lock"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as holder:  # fmt: skip
        assert holder.stdout.readline() == b"held\n"
        code, _, err = call(capfd, "-c", config, "run")
        holder.stdin.close()
    assert code == ExitCode.LOCKED == 11
    assert f"zdiffsync run (process {holder.pid}" in one_sentence(err)


def test_a_bug_does_not_look_like_success(capfd, config, monkeypatch):
    def broken(*_args, **_options):
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("zdiffsync.cli.run._plans", broken)
    code, _, err = call(capfd, "-c", config, "run")
    assert code == ExitCode.BUG == 1
    assert "bug: ZeroDivisionError: oops; run with -v" in one_sentence(err)
    assert "Traceback" in call(capfd, "-v", "-c", config, "run")[2]


def test_a_signal_is_told(capfd, config, monkeypatch):
    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("zdiffsync.cli.run._plans", interrupted)
    code, _, err = call(capfd, "-c", config, "run")
    assert code == 130
    assert one_sentence(err.removeprefix("\n")) == "zdiffsync: interrupted; run it again to continue\n"
