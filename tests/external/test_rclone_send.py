"""Small objects go through the running rclone, all else through the upload engine."""

import pytest

from zdiffsync.errors import RemoteError
from zdiffsync.external import rclone_send
from zdiffsync.external.rclone_daemon import RcloneDaemon
from zdiffsync.external.rclone_env import PLAIN, plain_setup
from zdiffsync.external.rclone_upload import upload


@pytest.fixture
def remote(tmp_path):
    daemon = RcloneDaemon(plain_setup(str(tmp_path / "remote")))
    yield daemon
    daemon.close()


@pytest.fixture
def engine(monkeypatch):
    """Count what the engine is asked for."""
    asked: list[list[str]] = []

    def counted(setup, fs, stage, names, progress):
        asked.append(list(names))
        upload(setup, fs, stage, names, progress)

    monkeypatch.setattr(rclone_send, "upload", counted)
    return asked


def sent(remote, tmp_path, files):
    stage = tmp_path / "stage"
    for name, data in files.items():
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        if not (stage / name).exists() or (stage / name).read_bytes() != data:
            (stage / name).write_bytes(data)
    told: list[int] = []
    sizes = {name: len(data) for name, data in files.items()}
    rclone_send.send(remote, PLAIN, stage, sizes, told.append, transfers=2)
    for name, data in files.items():
        assert (tmp_path / "remote" / name).read_bytes() == data
    return sum(told)


def test_small_ones_need_no_engine(remote, tmp_path, engine):
    assert sent(remote, tmp_path, {"a/one": b"1" * 1000, "a/two": b"2"}) == 1001
    assert engine == []


def test_large_ones_are_the_engines(remote, tmp_path, engine):
    size = rclone_send._SMALL
    assert sent(remote, tmp_path, {"a/one": bytes(size), "a/two": b"2"}) == size + 1
    assert engine == [["a/one", "a/two"]]


def test_what_is_there_is_never_replaced(remote, tmp_path, engine):
    sent(remote, tmp_path, {"one": b"1"})
    sent(remote, tmp_path, {"one": b"1", "two": b"2"})
    assert engine == [["one"]]
    with pytest.raises(RemoteError, match="immutable"):
        sent(remote, tmp_path, {"one": b"other"})
    assert (tmp_path / "remote/one").read_bytes() == b"1"


def test_what_fails_is_explained_by_the_engine(remote, tmp_path, engine):
    (tmp_path / "remote").write_bytes(b"in the way")
    with pytest.raises(RemoteError, match="upload failed"):
        sent(remote, tmp_path, {"one": b"1"})
    assert engine == [["one"]]
