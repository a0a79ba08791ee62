"""Commands on several remotes: each in its turn, whatever becomes of the others. None of it needs ZFS."""

import json

import pytest

from setup_cache import path_with_tools
from zdiffsync.cli.main import invoke


@pytest.fixture
def call(tmp_path, monkeypatch, capfd):
    """Run a command with two remotes, 'home' and 'cloud': (exit code, standard output, standard error)."""
    monkeypatch.setenv("PATH", path_with_tools())
    config = tmp_path / "config.toml"
    config.write_text(
        f'password_file = "{tmp_path}/password"\nstate_dir = "{tmp_path}/state"\n'
        f'[[remote]]\nname = "home"\nurl = "{tmp_path}/a"\n[[remote]]\nname = "cloud"\nurl = "{tmp_path}/b"\n'
        '[[dataset]]\nname = "tank/data"\n'
    )

    def run(*arguments):
        code = invoke(["-c", str(config), *arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return run


def test_each_has_its_turn_and_its_state(call, tmp_path):
    assert call("--repo", "cloud", "init")[0] == 0
    assert not (tmp_path / "a").exists()
    code, out, err = call("init")
    assert (code, err) == (0, "")
    assert out.index("remote home\nRepository ") < out.index("remote cloud\nRepository ")
    assert f"is ready at {tmp_path}/a" in out
    assert f"was there already at {tmp_path}/b" in out
    assert out.count("Next:") == 2
    found = json.loads(call("--json", "check")[1])
    assert [(each["repo"], each["points"], each["exit_code"]) for each in found["remotes"]] == [
        ("home", 0, 0), ("cloud", 0, 0),
    ]  # fmt: skip
    ids = {name: (tmp_path / "state" / name / "repository").read_text() for name in ("home", "cloud")}
    assert ids["home"] != ids["cloud"]
    assert json.loads(call("--json", "-r", "cloud", "kit")[1])["repository"] == ids["cloud"].strip()


def test_one_that_fails_keeps_none_from_its_turn(call, tmp_path):
    assert call("init")[0] == 0
    (tmp_path / "a/zdiffsync.json").unlink()
    code, out, err = call("prune")
    assert code == 2
    assert (
        err
        == f"remote home\nzdiffsync: there is no zdiffsync repository at {tmp_path}/a; run zdiffsync init\n"
    )
    assert out.startswith("remote cloud\n0 packs")
    found = json.loads(call("--json", "prune")[1])
    assert found["exit_code"] == 2
    assert [(each["repo"], each.get("exit_code")) for each in found["remotes"]] == [
        ("home", 2), ("cloud", None),
    ]  # fmt: skip
    assert call("--repo", "cloud", "prune")[0] == 0


def test_where_the_other_copies_are_is_told_when_the_first_is_gone(call, tmp_path):
    assert call("init")[0] == 0
    assert call("rebuild")[0] == 0
    (tmp_path / "a").rename(tmp_path / "away")
    code, _, err = call("find", "x")
    assert code == 5
    assert err.endswith("; there is cloud, too: --repo cloud\n")
    assert "--repo cloud" not in call("--repo", "home", "find", "x")[2]
