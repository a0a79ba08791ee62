"""Presets: found through whatever wraps the storage, and really what rclone works with."""

import json

import pytest

from zdiffsync.config.config import load
from zdiffsync.external.process import run_tool
from zdiffsync.external.rclone_backends import _configuration, backends
from zdiffsync.external.rclone_daemon import RcloneDaemon
from zdiffsync.external.rclone_env import find_rclone, plain_setup
from zdiffsync.external.rclone_presets import PRESETS, preset_for, rclone_options
from zdiffsync.external.restic import Restic

CONFIGURATION = """
[one]
type = onedrive
[own-one]
type = onedrive
chunk_size = 10Mi
[bucket]
type = b2
[also]
type = alias
remote = one:backup
[secret]
type = crypt
remote = also:x
[parts]
type = chunker
remote = secret:
[joined]
type = union
upstreams = "bucket:a b" parts:c:nc /srv/x:ro
[beside]
type = combine
upstreams = a=bucket:x "b=/srv/y y"
[circle]
type = alias
remote = circle:
"""


@pytest.fixture(autouse=True)
def configuration(tmp_path, monkeypatch):
    path = tmp_path / "rclone.conf"
    path.write_text(CONFIGURATION)
    monkeypatch.setenv("RCLONE_CONFIG", str(path))
    _configuration.cache_clear()
    yield
    _configuration.cache_clear()


@pytest.mark.parametrize(
    ("remote", "kinds"),
    [
        ("/srv/backup", {"local"}),
        ("one:x", {"onedrive"}),
        ("one,chunk_size=20Mi:x", {"onedrive"}),
        ("parts:", {"onedrive"}),
        ("joined:x/y", {"b2", "onedrive", "local"}),
        ("beside:", {"b2", "local"}),
        (":sftp,host=nas:backup", {"sftp"}),
        (":crypt,remote='bucket:it''s',password=x:", {"b2"}),
        (':union,upstreams="one:a /srv/b":', {"onedrive", "local"}),
        ("circle:", {"alias"}),
        ("unknown:x", {""}),
    ],
)
def test_what_lies_below_a_remote(remote, kinds):
    assert {backend.kind for backend in backends(remote)} == kinds


def test_a_remote_that_the_environment_defines(monkeypatch):
    monkeypatch.setenv("RCLONE_CONFIG_MY_NAS_TYPE", "sftp")
    assert preset_for("my-nas:x", None) == PRESETS["sftp"]


def test_the_one_to_be_treated_most_carefully_decides():
    assert preset_for("joined:", None) == PRESETS["onedrive"]
    assert preset_for("beside:", None) == PRESETS["b2"]
    assert preset_for("unknown:", None).transfers == 4


def test_what_a_person_has_set_stands(tmp_path, monkeypatch):
    options = {"RCLONE_TPSLIMIT": "10", "RCLONE_CHECKERS": "4", "RCLONE_ONEDRIVE_CHUNK_SIZE": "50Mi"}
    one = PRESETS["onedrive"]
    assert rclone_options("one:", one, None) == options
    assert rclone_options("one:", one, 2.5)["RCLONE_TPSLIMIT"] == "2.5"
    del options["RCLONE_ONEDRIVE_CHUNK_SIZE"]
    assert rclone_options("own-one:", one, None) == options
    assert rclone_options("one,chunk_size=20Mi:", one, None) == options
    monkeypatch.setenv("RCLONE_TPSLIMIT", "3")
    assert "RCLONE_TPSLIMIT" not in rclone_options("one:", one, None)
    path = tmp_path / "config.toml"
    path.write_text('remote = "one:"\npassword_file = "/p"\ntransfers = 2\npack_size = "1M"\n')
    found = load(path)
    assert (found.transfers, found.size("pack_size")) == (2, 1 << 20)
    path.write_text('remote = "one:"\npassword_file = "/p"\npreset = "b2"\n')
    found = load(path)
    assert (found.transfers, found.size("pack_size"), found.rclone_options) == (16, 64 << 20, {})


def test_it_is_what_each_rclone_works_with(tmp_path, one_restic):
    config = tmp_path / "config.toml"
    config.write_text('remote = "one:"\npassword_file = "/p"\ntpslimit = 7.5\n')
    found = load(config)
    setup = plain_setup(found.remote, transfers=found.transfers, options=found.rclone_options)
    daemon = RcloneDaemon(setup)
    try:
        heard = daemon.call("options/get")["main"]
    finally:
        daemon.close()
    assert (heard["TPSLimit"], heard["Checkers"], heard["Transfers"]) == (7.5, 4, 4)
    # restic starts rclone itself: another rclone tells what it makes of what is handed on.
    witness, told = tmp_path / "rclone", tmp_path / "told"
    witness.write_text(f'#!/bin/sh\nenv -0 >{told}\nexec {find_rclone()} "$@"\n')
    witness.chmod(0o700)
    (tmp_path / "password").write_text("x")
    restic = Restic(
        f"rclone:{tmp_path}/none", tmp_path / "password", tmp_path / "cache", binary=one_restic,
        environment=setup.environment, rclone_program=str(witness), transfers=found.transfers,
    )  # fmt: skip
    assert not restic.exists()
    environment = dict(pair.split("=", 1) for pair in told.read_text().rstrip("\0").split("\0"))
    done = run_tool([find_rclone(), "rc", "--loopback", "options/get"], timeout=60, env=environment)
    heard = json.loads(done.stdout)["main"]
    assert (heard["TPSLimit"], heard["Checkers"]) == (7.5, 4)
