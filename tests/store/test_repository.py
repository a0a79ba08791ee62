"""Making and opening repositories."""

import hashlib
import json
import os

import pytest

from zdiffsync.errors import ConfigError, IntegrityError, RemoteError, UsageError, WrongPasswordError
from zdiffsync.store.repository import create_repository, open_repository
from zdiffsync.store.secret import Secret

PASSWORD = Secret(b"correct horse")


@pytest.fixture
def root(tmp_path):
    with create_repository(str(tmp_path / "r"), PASSWORD):
        pass
    return tmp_path / "r"


def test_what_was_made_opens_again(root):
    mark = json.loads((root / "zdiffsync.json").read_bytes())
    assert mark.keys() == {"format", "repository", "created"}
    with open_repository(str(root), PASSWORD, transfers=2, bwlimit="100M") as repository:
        assert repository.identifier == mark["repository"]
        assert repository.created == mark["created"]
        assert repository.store.data.sizes("") == {"canary": 64}
    assert sorted(os.listdir(root)) == ["RECOVERY.md", "data", "recover.py", "zdiffsync.json"]


def test_there_is_none(tmp_path):
    with pytest.raises(UsageError, match="run zdiffsync init"), open_repository(str(tmp_path), PASSWORD):
        pass
    with (
        pytest.raises(UsageError, match="run zdiffsync init"),
        open_repository(str(tmp_path / "no"), PASSWORD),
    ):
        pass


def test_a_second_one_is_refused(root):
    with (
        pytest.raises(UsageError, match="already holds a repository"),
        create_repository(str(root), PASSWORD),
    ):
        pass


@pytest.mark.parametrize("folder", ["data", "restic"])
def test_foreign_folders_are_left_alone(tmp_path, folder):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "theirs").write_bytes(b"1")
    with (
        pytest.raises(UsageError, match=f"holds a folder {folder}"),
        create_repository(str(tmp_path), PASSWORD),
    ):
        pass
    assert [names for _path, _folders, names in os.walk(tmp_path)] == [[], ["theirs"]]


def test_an_init_that_failed_leaves_no_repository(tmp_path):
    with pytest.raises(ZeroDivisionError), create_repository(str(tmp_path), PASSWORD):
        raise ZeroDivisionError
    with pytest.raises(UsageError, match="run zdiffsync init"), open_repository(str(tmp_path), PASSWORD):
        pass


def test_a_wrong_password(root):
    with (
        pytest.raises(WrongPasswordError, match="password does not open"),
        open_repository(str(root), Secret(b"wrong")),
    ):
        pass


class TestMemory:
    """The id is remembered beside the catalog; what the remote says stays right."""

    @pytest.fixture
    def memory(self, tmp_path):
        return tmp_path / "state" / "repository"

    @staticmethod
    def opened(root, memory, password=PASSWORD):
        with open_repository(str(root), password, memory=memory) as repository:
            assert repository.store.data.sizes("") == {"canary": 64}
            return repository.identifier

    def test_it_is_written_once_and_used(self, root, memory, monkeypatch):
        first = self.opened(root, memory)
        assert memory.read_text() == f"{first}\n"
        assert memory.stat().st_mode & 0o777 == 0o600
        monkeypatch.setattr("zdiffsync.store.repository.cat", None)  # no process of its own any more
        assert self.opened(root, memory) == first
        assert os.listdir(memory.parent) == ["repository"]

    @pytest.mark.parametrize("content", [b"", b"\xff", b"0" * 32, b"../../x"])
    def test_a_wrong_one_is_put_right(self, root, memory, content):
        memory.parent.mkdir()
        memory.write_bytes(content)
        found = self.opened(root, memory)
        assert found == json.loads((root / "zdiffsync.json").read_bytes())["repository"]
        assert memory.read_text() == f"{found}\n"

    def test_another_format_or_none_is_still_noticed(self, root, memory):
        self.opened(root, memory)
        (root / "zdiffsync.json").write_bytes(b'{"format": 3}')
        with pytest.raises(UsageError, match="has format 3"):
            self.opened(root, memory)
        (root / "zdiffsync.json").unlink()
        with pytest.raises(RemoteError, match="is not there; is its disk mounted"):
            self.opened(root, memory)

    def test_a_wrong_password_or_a_missing_canary(self, root, memory):
        self.opened(root, memory)
        with pytest.raises(WrongPasswordError):
            self.opened(root, memory, Secret(b"wrong"))
        (root / "data/canary").unlink()
        with pytest.raises(IntegrityError, match="lacks its canary"):
            self.opened(root, memory)


def test_a_missing_canary(root):
    (root / "data/canary").unlink()
    with pytest.raises(IntegrityError, match="lacks its canary"), open_repository(str(root), PASSWORD):
        pass


def test_a_canary_of_other_content(root):
    with open_repository(str(root), PASSWORD) as repository:
        repository.store.data.delete(["canary"])
        repository.store.data.put("canary", bytes(64))
    with pytest.raises(IntegrityError, match=r"canary .* is damaged"), open_repository(str(root), PASSWORD):
        pass


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"format": 3, "anything": []}', "has format 3, this zdiffsync knows 2; upgrade"),
        (b'{"format": 1, "repository": "a"}', "has format 1, which only early versions of zdiffsync read"),
        (b"not json", "is not one of ours"),
        (b"[]", "is not one of ours"),
        (b'{"format": 2}', "is not one of ours"),
        (b"", "is not one of ours"),
    ],
)
def test_another_mark(root, content, told):
    (root / "zdiffsync.json").write_bytes(content)
    with pytest.raises(UsageError, match=told), open_repository(str(root), PASSWORD):
        pass


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RemoteError), create_repository(str(tmp_path / "file/r"), PASSWORD):
        pass


def test_parameters_of_a_connection_string_stay_hidden(tmp_path):
    remote = f":local,description=hidden:{tmp_path}"
    with pytest.raises(UsageError, match="run zdiffsync init") as caught, open_repository(remote, PASSWORD):
        pass
    assert "hidden" not in str(caught.value)


class TestSecret:
    @pytest.fixture
    def file(self, tmp_path):
        path = tmp_path / "password"
        path.write_bytes(b" sp ace \n\n")
        path.chmod(0o600)
        return path

    def test_one_newline_is_taken_off(self, file):
        assert Secret.from_file(file) == Secret(b" sp ace \n")

    def test_it_does_not_show(self, file):
        secret = Secret.from_file(file)
        assert "sp ace" not in f"{secret} {secret!r}"

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
    def test_others_may_not_touch_it(self, file, mode):
        file.chmod(mode)
        with pytest.raises(ConfigError, match=f"run chmod 600 {file}"):
            Secret.from_file(file)

    @pytest.mark.parametrize("content", [b"", b"\n"])
    def test_empty_is_refused(self, file, content):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="is empty"):
            Secret.from_file(file)

    def test_missing_or_a_directory(self, tmp_path):
        with pytest.raises(ConfigError, match="No such file"):
            Secret.from_file(tmp_path / "none")
        with pytest.raises(ConfigError, match="Is a directory"):
            Secret.from_file(tmp_path)

    def test_the_derivation_anybody_can_repeat(self):
        key = hashlib.scrypt(b"p", salt=b"ab" * 16, n=32768, r=8, p=1, maxmem=1 << 26, dklen=64).hex()
        assert Secret(b"p").crypt_passwords("ab" * 16) == (key[:64], key[64:])
        assert Secret(b"p").crypt_passwords("cd" * 16) != Secret(b"p").crypt_passwords("ab" * 16)
