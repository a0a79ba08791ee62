"""The store over real rclone, on directories."""

import os
import threading
from pathlib import Path

import pytest

from zdiffsync.errors import ConfigError, IntegrityError, ObjectMissingError, RemoteError
from zdiffsync.external.rclone_send import send
from zdiffsync.store.secret import Secret
from zdiffsync.store.store import Store

BLOCK = 1 << 16
IDENTIFIER = "0123456789abcdef" * 2


def ignore(_amount):
    pass


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("remote")


@pytest.fixture(scope="module")
def store(root):
    with Store(str(root), Secret(b"correct horse"), IDENTIFIER) as opened:
        yield opened


@pytest.fixture
def stage(tmp_path):
    folder = tmp_path / "stage"
    folder.mkdir()
    return folder


def fill(stage, name, data):
    path = stage / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return name


def test_objects_come_back_by_range_and_whole(store, root, stage, tmp_path):
    data = os.urandom(3 * BLOCK + 17)
    names = [
        fill(stage, "packs/ab/one", data),
        fill(stage, "packs/cd/two", b""),
        fill(stage, "points/3", b"x"),
    ]
    sent = []
    store.data.upload(stage, names, sent.append)
    assert sum(sent) == len(data) + 1
    assert min(sent) >= 0
    assert store.data.sizes("packs") == {"packs/ab/one": len(data), "packs/cd/two": 0}
    assert store.data.size("points/3") == 1
    for offset, length in (0, 1), (BLOCK - 1, 2), (BLOCK, BLOCK), (5, 2 * BLOCK), (len(data) - 1, 1), (7, 0):
        assert store.data.read("packs/ab/one", offset, length) == data[offset : offset + length]
        assert store.data.read_up_to("packs/ab/one", offset, length) == data[offset : offset + length]
    assert store.data.read_up_to("packs/ab/one", BLOCK + 5, 10 * BLOCK) == data[BLOCK + 5 :]
    for beyond in ("packs/ab/one", len(data)), ("packs/cd/two", 0):
        with pytest.raises(IntegrityError, match="truncated"):
            store.data.read_up_to(*beyond, 1)
    assert store.data.read_all("packs/ab/one", 1 << 26) == data
    assert store.data.read_all("packs/cd/two", 1 << 26) == b""
    with pytest.raises(IntegrityError, match=f"has more than the {len(data) - 1} bytes it may have"):
        store.data.read_all("packs/ab/one", len(data) - 1)
    got = []
    store.data.download("packs/ab/one", tmp_path / "copy", got.append)
    assert (tmp_path / "copy").read_bytes() == data
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    assert sum(got) == len(data)
    assert data[:64] not in (root / "data/packs/ab/one").read_bytes()


def test_uploading_the_same_again_is_no_error(store, stage):
    names = [fill(stage, "again/a", b"same")]
    for _ in range(2):
        sent = []
        store.data.upload(stage, names, sent.append)
        assert sum(sent) == 4


def test_an_object_is_never_changed(store, stage):
    name = fill(stage, "fixed/a", b"first")
    store.data.upload(stage, [name], ignore)
    fill(stage, name, b"second")
    with pytest.raises(RemoteError, match="immutable file modified"):
        store.data.upload(stage, [name], ignore)
    assert store.data.read_all(name, 1 << 26) == b"first"


def test_put_writes_once_in_either_area(store, root):
    store.plain.put("mark.json", b"{}")
    assert (root / "mark.json").read_bytes() == b"{}"
    with pytest.raises(RemoteError, match=r"mark\.json exists already"):
        store.plain.put("mark.json", b"{}")


def test_a_file_that_vanished_from_staging_is_noticed(store, stage, monkeypatch):
    name = fill(stage, "lost/a", b"1")

    names = [name, fill(stage, "lost/b", b"2")]

    def vanish(*arguments, **settings):
        (stage / "lost/b").unlink()
        send(*arguments, **settings)

    monkeypatch.setattr("zdiffsync.store.area.send", vanish)
    with pytest.raises(RemoteError, match="lost/b is not there after its upload"):
        store.data.upload(stage, names, ignore)


def test_missing_objects_and_folders(store, tmp_path):
    assert store.data.size("no/such") is None
    assert store.data.sizes("no") == {}
    for read in (
        lambda: store.data.read("no/such", 0, 1),
        lambda: store.data.read_all("no/such", 1 << 26),
        lambda: store.data.download("no/such", tmp_path / "x", ignore),
    ):
        with pytest.raises(ObjectMissingError, match="no/such"):
            read()
    assert not (tmp_path / "x").exists()


def test_delete_is_repeatable(store, stage):
    names = [fill(stage, f"gone/{number}", b"1") for number in range(9)]
    store.data.upload(stage, names, ignore)
    store.data.delete(names[:8])
    store.data.delete(names[:8])
    assert store.data.sizes("gone") == {"gone/8": 1}


@pytest.mark.parametrize("name", ["", "/a", "a//b", "../a", "a/..", "a b", "$a", "a\n", "ü", "a/", '"a"'])
def test_odd_names_are_refused(store, stage, name):
    with pytest.raises(ValueError, match="no object name"):
        store.data.upload(stage, [name], ignore)
    with pytest.raises(ValueError, match="no object name"):
        store.data.size(name)


class TestDamage:
    DATA = os.urandom(4 * BLOCK)

    @pytest.fixture
    def damaged(self, store, root, stage, request):
        name = fill(stage, f"damage/{request.node.name.lower()}", self.DATA)
        store.data.upload(stage, [name], ignore)
        return name, root / "data" / name

    def test_a_flipped_byte(self, store, damaged, tmp_path):
        name, path = damaged
        raw = bytearray(path.read_bytes())
        raw[2 * BLOCK + 100] ^= 1
        path.write_bytes(raw)
        assert store.data.read(name, 0, BLOCK) == self.DATA[:BLOCK]
        for read in (
            lambda: store.data.read(name, 2 * BLOCK, 10),
            lambda: store.data.read(name, 0, 3 * BLOCK),
            lambda: store.data.read_all(name, 1 << 26),
            lambda: store.data.download(name, tmp_path / "x", ignore),
        ):
            with pytest.raises(IntegrityError, match=f"{name} is damaged"):
                read()
        assert not (tmp_path / "x").exists()

    def test_a_cut_at_a_block(self, store, damaged):
        name, path = damaged
        os.truncate(path, 32 + 2 * (BLOCK + 16))
        assert store.data.size(name) == 2 * BLOCK
        for offset in BLOCK, 2 * BLOCK, 3 * BLOCK:
            with pytest.raises(IntegrityError, match="truncated"):
                store.data.read(name, offset, BLOCK + 1)

    def test_a_cut_in_a_block(self, store, damaged):
        name, path = damaged
        os.truncate(path, 32 + BLOCK + 1000)
        with pytest.raises(IntegrityError):
            store.data.read(name, BLOCK, 900)
        with pytest.raises(IntegrityError):
            store.data.read_all(name, 1 << 26)

    def test_a_foreign_file(self, store, damaged):
        name, path = damaged
        path.write_bytes(b"something else entirely, long enough to hold a header")
        with pytest.raises(IntegrityError, match="not an encrypted file"):
            store.data.read(name, 0, 1)

    def test_an_empty_file(self, store, damaged):
        name, path = damaged
        path.write_bytes(b"")
        with pytest.raises(IntegrityError):
            store.data.read_all(name, 1 << 26)
        assert store.data.size(name) != len(self.DATA)


def test_another_password_or_repository_reads_nothing(store, root, stage):
    name = fill(stage, "secret/a", b"hidden")
    store.data.upload(stage, [name], ignore)
    for password, identifier in (b"wrong", IDENTIFIER), (b"correct horse", "f" * 32):
        with Store(str(root), Secret(password), identifier) as other, pytest.raises(IntegrityError):
            other.data.read_all(name, 1 << 26)


@pytest.mark.parametrize("folder", ["quo'te dou\"ble $HOME `id` ünï {a,b} \\", "a:b", "-x", "new\nline"])
def test_directories_of_any_name(tmp_path, stage, folder):
    name = fill(stage, "a/b", b"content")
    with Store(str(tmp_path / folder), Secret(b"p"), IDENTIFIER) as opened:
        opened.data.upload(stage, [name], ignore)
        opened.plain.put("mark", b"m")
        assert opened.data.read_all(name, 1 << 26) == b"content"
    assert sorted(os.listdir(tmp_path / folder)) == ["data", "mark"]


def test_staging_folders_of_any_name(store, tmp_path):
    stage = tmp_path / 'st "$HOME" `id` ü'
    stage.mkdir()
    name = fill(stage, "odd/stage", b"content")
    store.data.upload(stage, [name], ignore)
    assert store.data.read_all(name, 1 << 26) == b"content"


def test_a_remote_that_cannot_be_written(tmp_path, stage):
    (tmp_path / "file").touch()
    name = fill(stage, "a", b"1")
    with Store(str(tmp_path / "file"), Secret(b"p"), IDENTIFIER) as opened, pytest.raises(RemoteError):
        opened.data.upload(stage, [name], ignore)


def test_a_remote_nobody_configured(stage):
    with Store("nosuchremote:x", Secret(b"p"), IDENTIFIER) as opened:
        with pytest.raises(RemoteError, match="nosuchremote"):
            opened.data.upload(stage, [fill(stage, "a", b"1")], ignore)
        with pytest.raises(RemoteError, match="nosuchremote"):
            opened.plain.sizes("")


@pytest.mark.parametrize("remote", ["relative/path", "", "./a:b", "nul\0"])
def test_a_remote_rclone_cannot_mean(remote):
    with pytest.raises(ConfigError):
        Store(remote, Secret(b"p"), IDENTIFIER)


def test_two_stores_do_not_meet(tmp_path):
    with (
        Store(str(tmp_path / "a"), Secret(b"p"), IDENTIFIER) as first,
        Store(str(tmp_path / "b"), Secret(b"q"), IDENTIFIER) as second,
    ):
        first.data.put("one", b"1")
        second.data.put("two", b"2")
        assert first.data.sizes("") == {"one": 1}
        assert second.data.read_all("two", 1 << 26) == b"2"


def test_leftovers_of_broken_uploads_are_kept_apart(store, root):
    folder = root / "data/left"
    folder.mkdir(parents=True)
    (folder / "a.1234abcd.partial").write_bytes(b"x" * 100)
    assert store.data.sizes("left") == {}
    names = list(store.data.partials("left"))
    assert names == ["left/a.1234abcd.partial"]
    store.data.delete(names)
    assert os.listdir(folder) == []


def test_many_threads_read_at_once(store, stage):
    data = os.urandom(1 << 20)
    name = fill(stage, "threads/a", data)
    store.data.upload(stage, [name], ignore)
    wrong = []

    def read(seed):
        for step in range(20):
            offset = (seed * 7919 + step * 104729) % (len(data) - 5000)
            if store.data.read(name, offset, 5000) != data[offset : offset + 5000]:
                wrong.append(offset)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_closed_store_says_so(tmp_path):
    opened = Store(str(tmp_path), Secret(b"p"), IDENTIFIER)
    opened.close()
    with pytest.raises(RemoteError, match="is closed"):
        opened.data.sizes("")


def test_the_environment_for_other_tools_holds_no_secret(store):
    assert not [name for name in store.environment if name.startswith("RCLONE_CONFIG_ZDDATA")]
    assert Path(store.environment["PATH"].split(os.pathsep)[0], "rclone").exists()
