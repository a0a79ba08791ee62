"""A dataset backed up to several remotes: independent chains, and one that fails harms no other."""

import json
from pathlib import Path
from typing import Any

import pytest
from machine import Machine, sh, snapshot_directory

from oracle import differences

pytestmark = pytest.mark.zfs


class TwoRemotes(Machine):
    """A machine with the remotes 'home' and 'cloud', of which home keeps one point only."""

    def configure(self, *datasets: str, **_keys: Any) -> None:
        lines = [f"password_file = {json.dumps(str(self.home / 'password'))}",
                 f"state_dir = {json.dumps(str(self.home / 'state'))}"]  # fmt: skip
        for name, more in (("home", "keep = { last = 1 }"), ("cloud", "")):
            lines += ["[[remote]]", f'name = "{name}"', f"url = {json.dumps(str(self.home / name))}", more]
        for name in datasets:
            lines += ["[[dataset]]", f"name = {json.dumps(name)}"]
        self.config.write_text("\n".join(lines) + "\n")

    def points_of(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.cli("--repo", name, "points")["points"]
        return found


def test_a_remote_that_was_away_catches_up_and_the_others_go_on(dataset: str, tmp_path: Path) -> None:
    machine = TwoRemotes(tmp_path)
    machine.init(dataset)
    root = Path(sh("zfs", "get", "-Ho", "value", "mountpoint", dataset).strip())
    (root / "file").write_text("first")
    machine.run()
    away = (tmp_path / "home").rename(tmp_path / "away")
    (root / "file").write_text("second")
    found = machine.run(expect=5)
    assert [(each["repo"], "error" in each) for each in found["remotes"]] == [
        ("home", True),
        ("cloud", False),
    ]
    away.rename(tmp_path / "home")
    (root / "file").write_text("third")
    machine.run()
    kinds = {name: [point["kind"] for point in machine.points_of(name)] for name in ("home", "cloud")}
    assert kinds == {"home": ["increment"], "cloud": ["base", "increment", "increment"]}
    for name in ("home", "cloud"):
        last = machine.points_of(name)[-1]
        target = tmp_path / f"restored-{name}"
        machine.cli("--repo", name, "restore", last["point"], "--to", str(target), "--no-local")
        assert differences(snapshot_directory(last["snapshot"]), str(target)) == []
    assert len(sh("zfs", "list", "-Hrt", "snapshot", "-o", "name", dataset).splitlines()) == 2
    only_there = machine.points_of("cloud")[1]["point"]
    said = machine.cli("cat", f"{only_there}:file", expect=2)["error"]
    assert "remote cloud has it: zdiffsync --repo cloud" in said
