"""RECOVERY.md and recover.py on the remote: stored by init, replaced by newer ones, never by older ones."""

import os

import pytest

from zdiffsync.errors import RemoteError
from zdiffsync.recovery import recover
from zdiffsync.store import recovery_files
from zdiffsync.store.recovery_files import refresh_recovery_files, store_recovery_files
from zdiffsync.store.repository import create_repository
from zdiffsync.store.secret import Secret
from zdiffsync.store.store import Store

ID = "00" * 16
NAMES = ("RECOVERY.md", "recover.py")


@pytest.fixture
def root(tmp_path):
    (tmp_path / "remote").mkdir()
    return tmp_path / "remote"


@pytest.fixture
def area(root):
    with Store(str(root), Secret(b"secret"), ID) as store:
        yield store.plain


def ours(name):
    return recovery_files._ours(name)


def edition(number):
    return ours("recover.py").replace(b"EDITION = %d" % recover.EDITION, b"EDITION = %d" % number)


def test_init_stores_both_as_they_are(root):
    with create_repository(str(root), Secret(b"secret")):
        assert not set(NAMES) & set(os.listdir(root))
    for name in NAMES:
        assert (root / name).read_bytes() == ours(name)


def test_an_older_edition_is_replaced_and_then_the_remote_is_not_asked_again(root, area, tmp_path):
    (root / "recover.py").write_bytes(edition(0))
    (root / "RECOVERY.md").write_bytes(b"zdiffsync of old")
    assert refresh_recovery_files(area, ID, tmp_path / "memory") is None
    assert [(root / name).read_bytes() for name in NAMES] == [ours(name) for name in NAMES]
    (root / "recover.py").unlink()
    assert refresh_recovery_files(area, ID, tmp_path / "memory") is None
    assert not (root / "recover.py").exists()
    assert refresh_recovery_files(area, "11" * 16, tmp_path / "memory") is None
    assert (root / "recover.py").read_bytes() == ours("recover.py")


def test_a_newer_edition_stays(root, area, tmp_path):
    newer = edition(recover.EDITION + 1)
    (root / "recover.py").write_bytes(newer)
    (root / "RECOVERY.md").write_bytes(b"zdiffsync to come")
    assert refresh_recovery_files(area, ID, tmp_path / "memory") is None
    assert (root / "recover.py").read_bytes() == newer
    assert (root / "RECOVERY.md").read_bytes() == b"zdiffsync to come"


def test_foreign_files_are_left_alone(root, area, tmp_path):
    (root / "RECOVERY.md").write_bytes(b"of somebody else")
    with pytest.raises(RemoteError):
        store_recovery_files(area)
    assert refresh_recovery_files(area, ID, tmp_path / "memory") is not None
    assert (root / "RECOVERY.md").read_bytes() == b"of somebody else"


def test_a_remote_that_refuses_is_told_and_tried_again(root, area, tmp_path, monkeypatch):
    (root / "recover.py").write_bytes(edition(0))

    def refuse(_names):
        raise RemoteError("403 Forbidden: append-only")

    with monkeypatch.context() as patch:
        patch.setattr(area, "delete", refuse)
        assert refresh_recovery_files(area, ID, tmp_path / "memory") == "403 Forbidden: append-only"
    assert refresh_recovery_files(area, ID, tmp_path / "memory") is None
    assert (root / "recover.py").read_bytes() == ours("recover.py")
