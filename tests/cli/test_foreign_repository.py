"""What lies at the remote is not ours, not whole, not for this password: one sentence and the right code."""

import json
import os
import shutil

import pytest
from test_cli import call, one_sentence

from setup_cache import path_with_tools
from zdiffsync.errors import ExitCode
from zdiffsync.format.manifest import FORMAT as MANIFEST_FORMAT
from zdiffsync.store.repository import FORMAT

OTHER = "0123456789abcdef" * 2


class Place:
    """A configuration, and the directory its remote is."""

    def __init__(self, home):
        self.config, self.remote, self.state = home / "config.toml", home / "remote", home / "state"
        self.password = home / "password"
        self.password.touch(0o600)
        self.password.write_text("secret\n")
        self.config.write_text(
            f'remote = "{self.remote}"\npassword_file = "{self.password}"\nstate_dir = "{self.state}"\n'
            '[[dataset]]\nname = "tank/data"\n'
        )

    @property
    def mark(self):
        return self.remote / "zdiffsync.json"

    def alter_mark(self, **changes):
        self.mark.write_text(json.dumps(json.loads(self.mark.read_text()) | changes))

    def forget(self):
        """Come to the remote for the first time."""
        shutil.rmtree(self.state, ignore_errors=True)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A repository, made once."""
    home = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch, open(os.devnull, "w", encoding="ascii") as nowhere:
        patch.setenv("PATH", path_with_tools())
        patch.setattr("sys.stdout", nowhere)
        from zdiffsync.cli.main import invoke  # noqa: PLC0415 - with the patched output

        assert invoke(["-c", str(Place(home).config), "init"]) == ExitCode.DONE
    return home


@pytest.fixture
def ours(place, made):
    """A repository of ours that was used from here before."""
    shutil.copytree(made / "remote", place.remote)
    return place


@pytest.fixture
def refuses(capfd):
    """Look for points, twice: told why not, the same each time, with the right code; nothing is changed."""

    def check(place, code, words):
        before = sorted(place.remote.rglob("*")) if place.remote.is_dir() else None
        for _ in range(2):
            found, out, err = call(capfd, "-c", place.config, "points")
            assert (found, out) == (code, "")
            assert words in one_sentence(err)
        found, out, err = call(capfd, "--json", "-c", place.config, "points")
        assert (found, err) == (code, "")
        assert words in json.loads(out)["error"]
        assert before == (sorted(place.remote.rglob("*")) if place.remote.is_dir() else None)

    return check


def test_what_is_refused_below_is_fine_before(ours, capfd):
    assert call(capfd, "-c", ours.config, "points") == (
        ExitCode.DONE, "no restore points yet; make one with zdiffsync run\n", "",
    )  # fmt: skip


def test_nothing_there(place, refuses):
    refuses(place, ExitCode.USAGE, f"there is no zdiffsync repository at {place.remote}; run zdiffsync init")
    place.remote.mkdir()
    refuses(place, ExitCode.USAGE, "run zdiffsync init")


def test_a_file_instead_of_a_directory(place, refuses):
    place.remote.write_text("not a directory")
    refuses(place, ExitCode.USAGE, f"there is no zdiffsync repository at {place.remote}")


def test_a_directory_instead_of_the_mark(place, refuses):
    place.mark.mkdir(parents=True)
    refuses(place, ExitCode.USAGE, "is not one of ours; choose another place")


@pytest.mark.parametrize(
    "text",
    ["", "not JSON", "[]", "{}", "null", '{"format": "2"}', '{"format": 1e999}', '{"format": -1}',
     '{"format": true}', "[" * 50_000, '{"name": "somebody else\'s"}', json.dumps({"format": FORMAT}),
     json.dumps({"format": FORMAT, "repository": "../x", "created": ""})],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_another_programs_mark(ours, refuses, text):
    ours.mark.write_text(text)
    refuses(ours, ExitCode.USAGE, f"zdiffsync.json at {ours.remote} is not one of ours; choose another place")


def test_a_newer_format(ours, refuses):
    ours.mark.write_text(json.dumps({"format": FORMAT + 1, "whatever": ["it", "needs"]}))
    refuses(
        ours, ExitCode.USAGE,
        f"at {ours.remote} has format {FORMAT + 1}, this zdiffsync knows {FORMAT}; upgrade zdiffsync",
    )  # fmt: skip


def test_an_older_format(ours, refuses):
    ours.alter_mark(format=FORMAT - 1)
    refuses(ours, ExitCode.USAGE, f"has format {FORMAT - 1}, which only early versions of zdiffsync read")


def test_a_wrong_password(ours, refuses):
    ours.password.write_text("Secret\n")
    refuses(ours, ExitCode.USAGE, "the password does not open the repository")


def test_a_replaced_mark(ours, refuses, capfd):
    assert call(capfd, "-c", ours.config, "points")[0] == ExitCode.DONE
    before = json.loads(ours.mark.read_text())["repository"]
    ours.alter_mark(repository=OTHER)
    refuses(
        ours, ExitCode.INTEGRITY, f"names another repository than it did when last used from here ({before})"
    )
    ours.forget()
    refuses(ours, ExitCode.USAGE, "the password does not open the repository")


def test_no_canary(ours, refuses):
    (ours.remote / "data/canary").unlink()
    refuses(ours, ExitCode.INTEGRITY, "lacks its canary; its data folder is damaged")


@pytest.mark.parametrize("damage", [lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: data[:40],
                                    lambda _data: b"", lambda data: data * 2])  # fmt: skip
def test_a_damaged_canary(ours, refuses, damage):
    canary = ours.remote / "data/canary"
    canary.write_bytes(damage(canary.read_bytes()))
    refuses(ours, ExitCode.USAGE, "or its canary is damaged; check the password file")


def test_a_file_instead_of_the_data(ours, refuses):
    shutil.rmtree(ours.remote / "data")
    (ours.remote / "data").write_text("?")
    refuses(ours, ExitCode.REMOTE, f"{ours.remote}: canary: failed to make Fs: is a file not a directory")


def test_somebody_elses_object_among_the_points(ours, refuses):
    (ours.remote / "data/points").mkdir()
    (ours.remote / "data/points/notes.txt").write_text("remember the milk")
    refuses(ours, ExitCode.INTEGRITY, "points/notes.txt on the remote is no manifest; move it away")


def test_an_object_put_in_another_ones_place(ours, refuses):
    """All objects are encrypted with one key, so this decrypts."""
    folder = ours.remote / "data/points" / ("ab" * 8)
    folder.mkdir(parents=True)
    shutil.copy(ours.remote / "data/canary", folder / "000000-000000.0.manifest")
    refuses(ours, ExitCode.INTEGRITY, "manifest points/abababababababab/000000-000000.0.manifest is damaged")


def test_the_formats_of_repository_and_manifests_go_together():
    assert FORMAT == MANIFEST_FORMAT
