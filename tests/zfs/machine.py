"""A user's machine for tests: a configuration, a local-directory remote, and the real command line."""

import contextlib
import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from oracle import differences
from zdiffsync.cli.main import invoke

IN_LAB = Path("/dev/ubda").exists()  # where the clock may be set


def sh(*argv: str | bytes) -> str:
    """Run a command that must succeed; return its output."""
    done = subprocess.run(argv, check=False, capture_output=True)
    assert done.returncode == 0, (argv, done.stdout[-2000:], done.stderr.decode(errors="replace"))
    return os.fsdecode(done.stdout)


def release(*snapshots: str) -> None:
    """Take all holds off, as somebody who wants the snapshots gone does."""
    for row in sh("zfs", "holds", "-H", *snapshots).splitlines() if snapshots else []:
        snapshot, tag, _since = row.split("\t")
        sh("zfs", "release", tag, snapshot)


class Machine:
    """One configured zdiffsync with its own state and remote below `home`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.remote = home / "remote"
        self.config = home / "config.toml"

    def configure(
        self, *datasets: str, recursive: bool = False, exclude: tuple[str, ...] = (), **keys: Any
    ) -> None:
        """Write the configuration file; `keys` are further top-level keys."""
        keys = {"remote": str(self.remote), "password_file": str(self.home / "password"),
                "state_dir": str(self.home / "state"), **keys}  # fmt: skip
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        lines.append(f"exclude = {json.dumps(list(exclude))}")
        for name in datasets:
            lines += ["[[dataset]]", f"name = {json.dumps(name)}", f"recursive = {json.dumps(recursive)}"]
        self.config.write_text("\n".join(lines) + "\n")

    def init(self, *datasets: str, **keys: Any) -> None:
        """Configure and make the repository."""
        self.configure(*datasets, **keys)
        self.cli("init")

    def cli(self, *arguments: str, expect: int = 0) -> dict[str, Any]:
        """Run one command with --json and return its object; its exit code must be `expect`."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = invoke(["-c", str(self.config), "--json", *arguments])
        text = out.getvalue()
        assert code == expect, (arguments, code, text)
        return json.loads(text) if text else {}

    def text(self, *arguments: str, expect: int = 0) -> str:
        """Run one command as a person would and return what it prints on stdout."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = invoke(["-c", str(self.config), *arguments])
        assert code == expect, (arguments, code, out.getvalue())
        return out.getvalue()

    def run(self, *arguments: str, expect: int = 0) -> dict[str, Any]:
        """Run `zdiffsync run`."""
        return self.cli("run", *arguments, expect=expect)

    def points(self, dataset: str | None = None) -> list[dict[str, Any]]:
        """Return all points, oldest first."""
        return self.cli("points", *([dataset] if dataset else []))["points"]

    def restore(self, point: str, target: Path, *arguments: str, expect: int = 0) -> dict[str, Any]:
        """Restore a point, or POINT:PATH, into `target`, from the remote alone: snapshots are the measure."""
        return self.cli("restore", point, "--to", str(target), "--no-local", *arguments, expect=expect)

    def check(self, point: dict[str, Any], snapshot: bytes | str, target: Path) -> None:
        """Restore a whole point and hold it against the directory of its snapshot."""
        self.restore(point["point"], target)
        found = differences(snapshot, target)
        assert not found, "\n".join(found[:40])


def snapshot_directory(name: str, mountpoint: str | None = None) -> str:
    """Return where the files of snapshot `dataset@label` are."""
    dataset, _, label = name.partition("@")
    root = mountpoint or sh("zfs", "get", "-Ho", "value", "mountpoint", dataset).strip()
    return f"{root}/.zfs/snapshot/{label}"
