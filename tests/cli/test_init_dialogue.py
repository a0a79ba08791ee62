"""init as a person meets it, at a real terminal; without ZFS, as on a machine that is only to restore."""

import os
import socket
import tomllib
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from mounted_world import World
from setup_cache import path_with_tools
from terminal import Terminal
from zdiffsync.cli.init_dialogue import ask_host
from zdiffsync.cli.init_setup import Ready
from zdiffsync.cli.main import invoke
from zdiffsync.config.config import load


@pytest.fixture
def tools(monkeypatch):
    """A restic new enough, where scripts/setup has put it or the system has it."""
    monkeypatch.setenv("PATH", path_with_tools())


@pytest.fixture
def start(tmp_path, tools):  # noqa: ARG001 - they have to be on PATH
    """Begin the dialogue in an empty home; rclone knows one remote, a folder called disk."""
    (tmp_path / "disk").mkdir()
    rclone = tmp_path / "rclone.conf"
    rclone.write_text(f"[my disk]\ntype = alias\nremote = {tmp_path}/disk\n")

    def begin(*options):
        return Terminal(
            "-c", tmp_path / "own/config.toml", "init", "--state-dir", tmp_path / "state", *options,
            RCLONE_CONFIG=str(rclone),
        )  # fmt: skip

    return begin


def test_answers_become_a_repository(start, tmp_path):
    person = start("--dataset", "tank/data")
    person.wait_for("1  my disk:  alias")
    person.answer("Where to?", "backup")  # neither a remote nor a directory
    person.wait_for("like onedrive:backup")
    person.answer("Where to?", "nowhere:x")
    person.wait_for("rclone does not know nowhere:")
    person.answer("Where to?", f"{tmp_path}/missing/usb")
    person.wait_for("is it mounted?")
    person.answer("Where to?", "1")
    person.answer("Folder there", "")
    person.wait_for("one transfer uploads")
    person.answer("Password file", "")
    person.answer("Keep [", "daily=x")
    person.wait_for("'x' is no count")
    person.answer("Keep [", "daily=3, within=1m")
    person.wait_for("keep      daily=3 within=1m")
    person.answer("Set it up?", "")
    assert person.end() == 0, person.seen
    assert "RECOVERY SHEET" in person.seen
    assert person.seen.index("Next, the first run:") < person.seen.index("zdiffsync doctor")
    wide = [line for line in person.seen.splitlines() if len(line) > 80 and str(tmp_path) not in line]
    assert all("recover.py" in line for line in wide), wide
    config = tmp_path / "own/config.toml"
    assert tomllib.loads(config.read_text()) == {
        "remote": "my disk:backup", "password_file": f"{tmp_path}/own/password",
        "state_dir": f"{tmp_path}/state", "keep": {"daily": 3, "within": "1m"},
        "dataset": [{"name": "tank/data"}],
    }  # fmt: skip
    assert config.stat().st_mode & 0o777 == 0o600
    assert sorted(os.listdir(tmp_path / "disk/backup")) == [
        "RECOVERY.md", "data", "recover.py", "restic", "zdiffsync.json"
    ]  # fmt: skip
    assert (tmp_path / "own/password").read_text().strip() not in person.seen


@pytest.mark.parametrize("question", ["Where to?", "Keep [", "Set it up?"])
def test_ctrl_c_leaves_nothing(start, tmp_path, question):
    person = start()
    answers = {"Where to?": "1", "Folder there": "", "Password file": "", "Keep [": ""}
    for each, text in answers.items():
        if each == question:
            break
        person.answer(each, text)
    person.interrupt(question)
    assert person.end() == 130
    assert person.seen.endswith("nothing was set up\n")
    assert sorted(os.listdir(tmp_path)) == ["disk", "rclone.conf"]
    assert os.listdir(tmp_path / "disk") == []


def test_a_machine_set_up_anew_joins_and_goes_on(start, tmp_path, capfd):
    world = World(tmp_path / "world")
    (world.tree / "letter").write_text("dear all\n")
    world.base()
    person = start()
    person.answer("Where to?", f"{world.remote}")
    person.answer("Join it?", "")
    person.answer("Password file", "")
    person.answer("password:", "wrong")
    person.answer("does not open", "")
    person.answer("password:", "correct horse")
    person.answer("It opens the repository.", "all")
    person.wait_for("joining its repository")
    person.answer("Set it up?", "")
    person.answer("Go on as", "")
    assert person.end() == 0, person.seen
    assert "tank/data of host: 1 point, the last of 2025-" in person.seen
    assert "correct" not in person.seen
    config = tmp_path / "own/config.toml"
    assert tomllib.loads(config.read_text())["host"] == "host"
    assert (tmp_path / "own/password").stat().st_mode & 0o777 == 0o600
    assert invoke(["-c", str(config), "cat", "latest:letter"]) == 0
    assert capfd.readouterr().out == "dear all\n"


def test_two_machines_of_one_name_are_told_apart(start, tmp_path):
    world = World(tmp_path / "world")
    (world.tree / "letter").write_text("dear all\n")
    world.base()
    person = start("--password-file", f"{world.home}/password", "--keep", "daily=2")
    for question, text in (
        ("Where to?", f"{world.remote}"), ("Join it?", ""), ("Password file", ""), ("Set it up?", ""),
        ("Go on as", socket.gethostname()),
    ):  # fmt: skip
        person.answer(question, text)
    assert person.end() == 0, person.seen
    config = tmp_path / "own/config.toml"
    assert "host" not in tomllib.loads(config.read_text()), "a machine of its own"
    ready = Ready(load(config), "0" * 32, [SimpleNamespace(host=socket.gethostname())], ())
    with CliRunner().isolation(f"n\n{socket.gethostname()}\nother\n"):
        assert ask_host(ready) == "other"


def test_ctrl_c_at_the_last_question_of_joining_leaves_nothing(start, tmp_path):
    world = World(tmp_path / "world")
    (world.tree / "letter").write_text("dear all\n")
    world.base()
    person = start()
    for question, text in (
        ("Where to?", f"{world.remote}"), ("Join it?", ""), ("Password file", f"{world.home}/password"),
        ("Keep [", ""), ("Set it up?", ""),
    ):  # fmt: skip
        person.answer(question, text)
    person.interrupt("Go on as")
    assert person.end() == 130
    assert sorted(os.listdir(tmp_path)) == ["disk", "rclone.conf", "world"]


def test_every_question_has_a_flag(tmp_path, tools, capfd):  # noqa: ARG001 - they have to be on PATH
    config = tmp_path / "config.toml"
    options = [
        "--dataset",
        "tank/a",
        "--dataset",
        "tank/b",
        "--recursive",
        "--keep",
        "daily=7",
        "--host",
        "nas",
    ]
    assert invoke(["-c", str(config), "init", "--remote", f"{tmp_path}/remote", *options]) == 0
    assert tomllib.loads(config.read_text()) == {
        "remote": f"{tmp_path}/remote", "password_file": f"{tmp_path}/password", "host": "nas",
        "keep": {"daily": 7},
        "dataset": [{"name": "tank/a", "recursive": True}, {"name": "tank/b", "recursive": True}],
    }  # fmt: skip
    config.unlink()
    assert invoke(["-c", str(config), "init", "--remote", f"{tmp_path}/new", "--keep", "dayly=7"]) == 2
    assert "'dayly=7' is no keep rule" in capfd.readouterr().err
    assert not config.exists()
