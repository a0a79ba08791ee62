"""A dataset in the lab with two repositories: zdiffsync's, and one of restic's with the same first snapshot.

What is measured on ZFS starts from here. restic's first snapshot is the one that zdiffsync's base had it make
of the same data: its repository and cache are copied. Rule: both sides back up the same ZFS snapshot through
the same rclone into local directories.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from common import CHECKOUT, ZDIFFSYNC, Figures, machine, restic, restic_version, sh

PASSWORD = "correct horse"  # noqa: S105 - of repositories that are gone in the end


class LabPair:
    """One dataset of pool `tank`, which `tree` is the directory of."""

    def __init__(self, home: Path, name: str) -> None:
        self.home, self._dataset = home / name, f"tank/{name}"
        self.tree = Path(f"/mnt/tank/{name}")
        self._config = self.home / "config.toml"
        self._parent = ""
        self._nights = 0

    def prepare(self, fill: Callable[[], object]) -> None:
        """Make the dataset, fill it by `fill`, make the base."""
        self.home.mkdir(parents=True)
        sh("zfs", "create", self._dataset)
        fill()
        sh("zpool", "sync")
        password = self.home / "password"
        password.touch(mode=0o600)
        password.write_text(PASSWORD)
        places = ["--remote", str(self.home / "remote"), "--state-dir", str(self.home / "state")]
        self._zdiffsync("init", *places, "--dataset", self._dataset, "--password-file", str(password))
        text = self._config.read_text()  # however much changes, what is measured are increments
        self._config.write_text(f"base_when_increments_exceed = 1000.0\n{text}")
        self._zdiffsync("run")
        shutil.copytree(self.home / "remote/restic", self.home / "peer")
        shutil.copytree(self.home / "state/restic-cache", self.home / "peer-cache")
        self._parent = json.loads(self._restic("snapshots", "--json", "--no-lock"))[-1]["id"]

    def snapshot(self) -> None:
        """Take the snapshot of a night's changes for restic; zdiffsync takes its own of the same."""
        self._nights += 1
        sh("zpool", "sync")
        sh("zfs", "snapshot", f"{self._dataset}@night-{self._nights}")

    def ours(self) -> tuple[float, dict[str, Any]]:
        """Back up by zdiffsync; return seconds and the report of the point."""
        started = monotonic()
        report = json.loads(self._zdiffsync("run", "--accept-changes"))
        taken = monotonic() - started
        point: dict[str, Any] = report["points"][0]
        if (point["kind"], point["certified"]) != ("increment", True):
            raise SystemExit(f"bench: not the night that was meant: {point}")
        return taken, point

    def theirs(self) -> tuple[float, dict[str, Any]]:
        """Back up by restic; return seconds and its summary."""
        folder = str(self.tree / f".zfs/snapshot/night-{self._nights}")
        started = monotonic()
        said = self._restic("backup", "--json", "-q", "--parent", self._parent, ".", cwd=folder)
        taken = monotonic() - started
        summary: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
        self._parent = summary["snapshot_id"]
        return taken, summary

    def _zdiffsync(self, *arguments: str) -> str:
        return sh(ZDIFFSYNC, "-c", str(self._config), "--json", *arguments)

    def _restic(self, *arguments: str, cwd: str | None = None) -> str:
        os.environ |= {
            "RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": str(self.home / "peer-cache"),
            "RESTIC_FEATURES": "device-id-for-hardlinks=true",
        }  # fmt: skip
        return sh(*restic(self.home / "peer"), *arguments, cwd=cwd)


def uploaded(point: dict[str, Any]) -> float:
    """Return the bytes that a point of ours took on the remote."""
    return float(point["uploaded_bytes"] + point["manifest_bytes"])


def make_pool() -> None:
    """Make the pool `tank` on the lab's disk."""
    sh("zpool", "create", "-f", "-o", "cachefile=none", "-O", "atime=off", "-O", "compression=lz4",
       "-m", "/mnt/tank", "tank", "/dev/ubda")  # fmt: skip


def write_lab_figures(figures: Figures, out: Path) -> None:
    """Hand the figures to the part on the host."""
    text = json.dumps({"machine": machine(sh("zfs", "version").split()[0], restic_version()),
                       "rounds": figures.rounds})  # fmt: skip
    out.write_text(text + "\n")


def measured_in_lab(figures: Figures, home: Path, rounds: int, command: Sequence[str], *options: str) -> str:
    """Run `command` with `--in-lab` in the lab, take in its figures, and return what they were taken on."""
    out = home / "lab.json"
    lab = [
        str(CHECKOUT / "scripts/zfs-lab"),
        "--disk",
        "60G",
        "--mem",
        "9G",
        *command,
        *options,
        "--rounds",
        str(rounds),
    ]
    lab += ["--in-lab", str(home), "--out", str(out)]
    done = subprocess.run(lab, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(done.returncode)
    found = json.loads(out.read_text())
    for row, by_side in found["rounds"].items():
        for side, values in by_side.items():
            figures.rounds[row][side] += values
    return str(found["machine"])
