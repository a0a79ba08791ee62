"""Each failure that needs no ZFS, provoked for real: the doctor names it, and looks at all the rest."""

import json
import os

import pytest

from zdiffsync.cli.main import invoke
from zdiffsync.errors import RemoteError
from zdiffsync.external.rclone_daemon import RcloneDaemon
from zdiffsync.store.probe import probe
from zdiffsync.store.repository import create_repository
from zdiffsync.store.secret import Secret


class Sick:
    """One configured machine; `found` are the findings that are not ok, by topic."""

    def __init__(self, home, capfd):
        self.home, self._capfd = home, capfd
        self.config, self.password, self.remote = home / "config.toml", home / "password", home / "remote"
        self.state = home / "state"
        self.keys = {
            "remote": str(self.remote), "password_file": str(self.password), "state_dir": str(self.state)
        }  # fmt: skip
        self.password.touch(0o600)
        self.password.write_text("secret\n")
        self.state.mkdir(0o700)
        with create_repository(str(self.remote), Secret(b"secret")):
            pass
        self.write()

    def write(self, tail='[[dataset]]\nname = "tank/data"\n', **keys):
        self.keys |= keys
        self.config.touch(0o600)
        self.config.write_text("".join(f"{key} = {json.dumps(self.keys[key])}\n" for key in self.keys) + tail)

    def doctor(self, *options):
        code = invoke(["-c", str(self.config), *options, "doctor"])
        return code, self._capfd.readouterr().out

    def found(self):
        code, out = self.doctor("--json")
        findings = json.loads(out)["findings"]
        bad = {each["topic"]: each for each in findings if each["level"] != "ok"}
        assert code == (4 if any(each["level"] == "fail" for each in findings) else 3)
        return {topic: (each["level"], each["what"], each["fix"]) for topic, each in bad.items()}, findings


@pytest.fixture
def sick(tmp_path, capfd):
    return Sick(tmp_path, capfd)


def test_without_a_configuration_the_tools_are_looked_at(sick):
    sick.config.unlink()
    bad, findings = sick.found()
    assert bad["config"][2] == "zdiffsync init"
    assert {"python", "restic", "rclone", "clock"} <= {each["topic"] for each in findings}
    assert "remote" not in {each["topic"] for each in findings}


def test_a_wrong_configuration_is_explained(sick):
    sick.write(tail='nmae = "x"\n')
    assert "unknown key 'nmae'" in sick.found()[0]["config"][1]


def test_what_is_open_to_others_gets_its_chmod(sick):
    for path, mode in ((sick.config, 0o666), (sick.password, 0o644), (sick.state, 0o755)):
        path.chmod(mode)
    bad = sick.found()[0]
    assert bad["config"] == (
        "fail",
        f"{sick.config} can be changed by other users",
        f"chmod 600 {sick.config}",
    )
    assert bad["password"][2] == f"chmod 600 {sick.password}"
    assert bad["state"][::2] == ("warning", f"chmod 700 {sick.state}")


def test_a_missing_password_does_not_hide_what_else_is_wrong(sick):
    sick.password.unlink()
    sick.write(tail="", staging_space="900PiB")
    trip = {"since": "2026-11-23T02:00:05Z", "found": "all was rewritten", "accept": "tank/data"}
    (sick.state / "tripped.json").write_text(json.dumps({"tank/data": trip}))
    bad, findings = sick.found()
    assert bad["password"][::2] == ("fail", f"install -m 600 YOUR-COPY {sick.password}")
    assert "names no dataset" in bad["config"][1]
    assert bad["space"][0] == "fail"
    assert bad["tripwire"][2] == "zdiffsync run --accept-changes tank/data"
    assert "hash (" in next(each["what"] for each in findings if "uploads at" in each["what"])


def test_another_password_and_a_newer_format(sick):
    sick.password.write_text("other\n")
    assert "does not open" in sick.found()[0]["repository"][1]
    mark = sick.remote / "zdiffsync.json"
    mark.write_text(mark.read_text().replace('"format": 2', '"format": 3'))
    assert "upgrade zdiffsync" in sick.found()[0]["repository"][1]
    mark.unlink()
    assert sick.found()[0]["repository"][2] == "zdiffsync init"


def test_a_remote_where_nothing_can_be_deleted_and_the_bases_are_gone(sick, monkeypatch):
    call = RcloneDaemon.call

    def refuse(daemon, command, **parameters):
        if command == "operations/deletefile":
            raise RemoteError("operations/deletefile: AccessDenied")
        return call(daemon, command, **parameters)

    monkeypatch.setattr(RcloneDaemon, "call", refuse)
    bad = sick.found()[0]
    assert bad["remote"][0] == "warning"
    assert "nothing can be deleted there" in bad["remote"][1]
    left = [path.stat().st_size for path in sick.remote.glob("zdiffsync-probe-*/*")]
    assert left == [64 << 10], "no megabytes are left by each trial"
    assert "restic folder is gone" in bad["repository"][1], "create_repository alone makes none"


def test_a_state_directory_of_another_user(sick):
    (sick.state / "lock").touch()
    os.chown(sick.state / "lock", 65534, 65534)
    bad = sick.found()[0]
    assert bad["state"][::2] == ("fail", f"chown -R $(id -un) {sick.state}   # as root")


def test_a_remote_that_is_gone_and_one_that_nobody_serves(sick):
    sick.remote.rename(sick.home / "elsewhere")
    bad = sick.found()[0]
    assert bad["remote"][1] == f"there is nothing at {sick.remote}"
    assert not sick.remote.exists(), "the trial leaves nothing"
    sick.write(remote=':webdav,url="http://127.0.0.1:1":backup')
    assert "connection refused" in sick.found()[0]["remote"][1]
    sick.write(remote="nowhere:backup")
    assert "nowhere" in sick.found()[0]["remote"][1]


def test_tools_that_are_missing_or_too_old_come_with_what_installs_them(sick, tmp_path, monkeypatch):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("setpriv", "sh", "echo"):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    old = tools / "restic"
    old.touch(0o755)
    old.write_text("#!/bin/sh\necho restic 0.14.0 compiled with go1.19\n")
    monkeypatch.setenv("PATH", str(tools))
    bad = sick.found()[0]
    assert "zfsutils-linux" in bad["zfs"][2]
    assert "restic 0.14.0, too old" in bad["restic"][1]
    assert bad["fuse"][::2] == ("warning", "apt-get install fuse3")


def test_the_page_names_each_fix_below_its_trouble(sick):
    sick.password.chmod(0o644)
    code, out = sick.doctor()
    lines = out.splitlines()
    assert f"        fix: chmod 600 {sick.password}" in lines
    assert "failure" in lines[-1]
    assert all(line.startswith(("ok ", "warning ", "FAIL ", "        ", "")) for line in lines)
    quiet_code, quiet = sick.doctor("-q")
    assert quiet_code == code == 4
    assert "ok " not in quiet


def test_a_trial_measures_and_leaves_nothing(tmp_path):
    (tmp_path / "mine").write_text("stays")
    found = probe(str(tmp_path))
    assert [step.name for step in found.steps] == ["reach", "write", "list", "read", "read part", "delete"]
    assert all(step.problem is None for step in found.steps)
    assert found.there
    assert found.upload_rate > 1e6
    assert "md5" in found.abilities.hashes
    assert os.listdir(tmp_path) == ["mine"]
    assert not probe(str(tmp_path / "new")).there
    assert os.listdir(tmp_path) == ["mine"]
