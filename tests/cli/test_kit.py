"""The recovery sheet: all that is needed to find the backup again, and no secret."""

import json

import pytest

from zdiffsync.cli.main import invoke
from zdiffsync.store.repository import create_repository
from zdiffsync.store.secret import Secret

SECRET = "correct-horse-battery"


@pytest.fixture
def config(tmp_path):
    """The configuration of a repository that nobody has opened yet; `identifier` is its id."""
    (tmp_path / "password").write_text(SECRET)
    (tmp_path / "password").chmod(0o600)
    with create_repository(str(tmp_path / "remote"), Secret(SECRET.encode())) as repository:
        identifier = repository.identifier
    path = tmp_path / "config.toml"
    path.write_text(
        f'remote = "{tmp_path}/remote"\npassword_file = "{tmp_path}/password"\n'
        f'state_dir = "{tmp_path}/state"\n'
        'host = "pve1"\n[[dataset]]\nname = "tank/data"\n[[dataset]]\nname = "tank/home"\nrecursive = true\n'
    )
    return path, identifier


def sheet(capfd, path, *options):
    assert invoke(["-c", str(path), *options, "kit"]) == 0
    return capfd.readouterr().out


def test_the_sheet_says_where_everything_is_and_no_secret(config, capfd, tmp_path):
    path, identifier = config
    text = sheet(capfd, path)
    for said in (
        f"kept at     {tmp_path}/remote", identifier, "format 2", f"{tmp_path}/password on pve1", str(path),
        "tank/data\n            tank/home and all below it\n", f"rclone copyto {tmp_path}/remote/recover.py",
        f"python3 recover.py --remote {tmp_path}/remote --password-file FILE restore POINT --to DIRECTORY",
        "zdiffsync restore POINT --to DIRECTORY",
    ):  # fmt: skip
        assert said in text
    assert SECRET not in text
    assert len(text.splitlines()) < 50


def test_once_the_repository_was_open_the_sheet_needs_no_remote(config, capfd, tmp_path):
    path, identifier = config
    assert invoke(["-c", str(path), "points"]) == 0
    capfd.readouterr()
    (tmp_path / "remote").rename(tmp_path / "elsewhere")
    (tmp_path / "password").unlink()
    assert identifier in sheet(capfd, path)


def test_a_cloud_needs_rclone_to_know_it(config, capfd):
    path, identifier = config
    (path.parent / "state").mkdir()
    (path.parent / "state/repository").write_text(identifier)
    text = path.read_text()
    for remote, known in (
        ("o365:backup", "o365"),
        ("box,pass=hidden:b", "box"),
        (":sftp,pass=hidden:b", None),
    ):
        path.write_text(text.replace(f"{path.parent}/remote", remote))
        printed = sheet(capfd, path)
        assert ("rclone has to know the remote" in printed) == (known is not None)
        assert known is None or f"remote {known!r}" in printed
        assert "hidden" not in printed
    path.write_text(text.replace(f"{path.parent}/remote", "o365:backup"))
    values = json.loads(sheet(capfd, path, "--json"))
    assert values == {
        "remote": "o365:backup", "repository": identifier, "format": 2, "host": "pve1",
        "password_file": f"{path.parent}/password", "config": str(path), "rclone_remote": "o365",
        "datasets": [
            {"name": "tank/data", "recursive": False}, {"name": "tank/home", "recursive": True}
        ],
        "with_zdiffsync": ["zdiffsync points", "zdiffsync restore POINT --to DIRECTORY"],
        "without_zdiffsync": [
            "rclone copyto o365:backup/recover.py recover.py",
            "python3 recover.py --remote o365:backup --password-file FILE points",
            "python3 recover.py --remote o365:backup --password-file FILE restore POINT --to DIRECTORY",
        ],
    }  # fmt: skip
