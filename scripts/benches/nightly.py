"""One night after another in datasets of growing size: scripts/bench nightly.

100 files of 10,000, 100,000, 1,000,000 change each night. zdiffsync and restic back up the same ZFS snapshots
in the lab. The lab makes system calls dear, which punishes whoever walks all files; so restic, borg and rclone
sync also run natively on this machine over a copy of the same tree with the same changes. restic's parent in
the lab is the snapshot that zdiffsync's base had it make of the same data.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import CHECKOUT, RCLONE, ZDIFFSYNC, Figures, machine, restic_version, say, sh

CHANGED = 100
_FOLDER = 100  # files
_PASSWORD = "correct horse"  # noqa: S105 - of repositories that are gone in the end
SIDES = ("zdiffsync, lab", "restic, lab", "restic, native", "borg, native", "rclone sync, native")
OURS, PEER, NATIVE, BORG, SYNC = SIDES


class Tree:
    """Files of 0.2 to 2 kB, a hundred a directory; the same for the same size wherever it is made."""

    def __init__(self, root: Path, size: int) -> None:
        self.root, self.size = root, size
        self._rng = random.Random(size)

    def fill(self) -> None:
        """Make all files."""
        for number in range(0, self.size, _FOLDER):
            os.makedirs(os.path.dirname(self._path(number)))
            for each in range(number, number + _FOLDER):
                self._write(each, self._rng.randrange(200, 2000))

    def change(self) -> None:
        """Write anew what a night changes."""
        for number in self._rng.sample(range(self.size), CHANGED):
            self._write(number, 1000)

    def _path(self, number: int) -> str:
        folder = number // _FOLDER
        return f"{self.root}/{folder // 100:03}/{folder % 100:02}/file-{number % _FOLDER:02}"

    def _write(self, number: int, size: int) -> None:
        with open(self._path(number), "wb", buffering=0) as file:
            file.write(self._rng.randbytes(size))


class LabNights:
    """One dataset in the lab, its repository, and a copy of the bases' restic repository for the peer."""

    def __init__(self, home: Path, size: int, figures: Figures) -> None:
        self.size, self._home, self._figures = size, home / f"{size}", figures
        self._dataset = f"tank/n{size}"
        self._tree = Tree(Path(f"/mnt/tank/n{size}"), size)
        self._config = self._home / "config.toml"
        self._parent = ""
        self._nights = 0

    def prepare(self) -> None:
        """Fill the dataset and make the base."""
        self._home.mkdir(parents=True)
        sh("zfs", "create", self._dataset)
        say(f"filling a dataset with {self.size:,} files")
        self._tree.fill()
        sh("zpool", "sync")
        password = self._home / "password"
        password.touch(mode=0o600)
        password.write_text(_PASSWORD)
        self._zdiffsync("init", "--remote", str(self._home / "remote"), "--dataset", self._dataset,
                        "--password-file", str(password), "--state-dir", str(self._home / "state"))  # fmt: skip
        say("making its base")
        self._zdiffsync("run")
        shutil.copytree(self._home / "remote/restic", self._home / "peer")
        shutil.copytree(self._home / "state/restic-cache", self._home / "peer-cache")
        listed = json.loads(self._restic("snapshots", "--json", "--no-lock"))
        self._parent = listed[-1]["id"]

    def night(self) -> None:
        """Change, then back up by either side."""
        self._nights += 1
        self._tree.change()
        label = f"night-{self._nights}"
        sh("zpool", "sync")
        sh("zfs", "snapshot", f"{self._dataset}@{label}")
        self._ours()
        self._theirs(f"/mnt/tank/n{self.size}/.zfs/snapshot/{label}")

    def _ours(self) -> None:
        with self._figures.seconds(seconds(self.size), OURS):
            report = json.loads(self._zdiffsync("run"))
        point = report["points"][0]
        found = (point["kind"], point["modified"], point["certified"])
        if found != ("increment", CHANGED, True):
            raise SystemExit(f"bench: not the night that was meant: {found}")
        uploaded = point["uploaded_bytes"] + point["manifest_bytes"]
        self._figures.add(kilobytes(self.size), OURS, uploaded / 1e3)

    def _theirs(self, snapshot: str) -> None:
        with self._figures.seconds(seconds(self.size), PEER):
            said = self._restic("backup", "--json", "-q", "--parent", self._parent, ".", cwd=snapshot)
        summary = json.loads(said.strip().splitlines()[-1])
        self._parent = summary["snapshot_id"]
        self._figures.add(kilobytes(self.size), PEER, summary["data_added_packed"] / 1e3)

    def _zdiffsync(self, *arguments: str) -> str:
        return sh(ZDIFFSYNC, "-c", str(self._config), "--json", *arguments)

    def _restic(self, *arguments: str, cwd: str | None = None) -> str:
        os.environ |= {
            "RESTIC_PASSWORD": _PASSWORD, "RESTIC_CACHE_DIR": str(self._home / "peer-cache"),
            "RESTIC_FEATURES": "device-id-for-hardlinks=true",
        }  # fmt: skip
        return sh(*restic(self._home / "peer"), *arguments, cwd=cwd)


class NativeNights:
    """The same tree on this machine's own file system, and what else backs up such trees."""

    def __init__(self, home: Path, size: int, figures: Figures) -> None:
        self.size, self._home, self._figures = size, home / f"{size}", figures
        self._tree = Tree(self._home / "tree", size)
        os.environ |= {
            "RESTIC_PASSWORD": _PASSWORD, "RESTIC_CACHE_DIR": str(self._home / "restic-cache"),
            "BORG_PASSPHRASE": _PASSWORD, "BORG_BASE_DIR": str(self._home / "borg-base"),
        }  # fmt: skip

    def prepare(self) -> None:
        """Make the tree and everybody's first copy of it."""
        say(f"filling a directory with {self.size:,} files, and first backups of it")
        self._tree.fill()
        sh(*restic(self._home / "restic"), "init")
        sh("borg", "init", "-e", "repokey-blake2", str(self._home / "borg"))
        self._restic()
        self._borg()
        self._sync()

    def night(self) -> None:
        """Change, then back up by each."""
        self._tree.change()
        for side, backup in ((NATIVE, self._restic), (BORG, self._borg), (SYNC, self._sync)):
            with self._figures.seconds(seconds(self.size), side):
                stored = backup()
            self._figures.add(kilobytes(self.size), side, stored / 1e3)

    def _restic(self) -> float:
        said = sh(*restic(self._home / "restic"), "backup", "--json", "-q", ".", cwd=self._tree.root)
        return float(json.loads(said.strip().splitlines()[-1])["data_added_packed"])

    def _borg(self) -> float:
        place = f"{self._home}/borg::{{now:%Y-%m-%dT%H:%M:%S.%f}}"
        before = disk_usage(self._home / "borg")
        sh("borg", "create", "--json", place, ".", cwd=self._tree.root)
        return disk_usage(self._home / "borg") - before

    def _sync(self) -> float:
        command = [RCLONE, "sync", str(self._tree.root), str(self._home / "synced")]
        done = subprocess.run([*command, "--use-json-log", "--stats-log-level", "NOTICE"],
                              check=True, capture_output=True, text=True)  # fmt: skip
        return float(json.loads(done.stderr.strip().splitlines()[-1])["stats"]["bytes"])


def disk_usage(folder: Path) -> float:
    """Return the bytes of all files below `folder`."""
    return float(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))


def restic(place: Path) -> list[str]:
    """Return restic's command line for a repository behind rclone, as zdiffsync's bases are."""
    return ["restic", "-o", f"rclone.program={RCLONE}", "-r", f"rclone:{place}"]


def seconds(size: int) -> str:
    """Name a row."""
    return f"{size:,} files, s"


def kilobytes(size: int) -> str:
    """Name a row."""
    return f"{size:,} files, kB"


def in_lab(home: Path, sizes: list[int], rounds: int, out: Path) -> None:
    """Measure ZFS's side; write the figures to `out`."""
    sh("zpool", "create", "-f", "-o", "cachefile=none", "-O", "atime=off", "-O", "compression=lz4",
       "-m", "/mnt/tank", "tank", "/dev/ubda")  # fmt: skip
    figures = Figures(SIDES)
    play([LabNights(home / "lab", size, figures) for size in sizes], rounds)
    machine_here = machine(sh("zfs", "version").split()[0], restic_version())
    out.write_text(json.dumps({"machine": machine_here, "rounds": figures.rounds}) + "\n")


def play(all_nights: list[Any], rounds: int) -> None:
    """Prepare each dataset and live through its nights; one more comes first, to warm up."""
    for nights in all_nights:
        nights.prepare()
        for _ in range(rounds):
            nights.night()


def measure(home: Path, sizes: list[int], rounds: int, command: list[str]) -> tuple[Figures, str]:
    """Measure all sides; `command` runs the part in the lab."""
    figures = Figures(SIDES)
    lab_out = home / "lab.json"
    lab: list[str] = [str(CHECKOUT / "scripts/zfs-lab"), "--disk", "40G", "--mem", "8G", *command]
    lab += ["nightly", "--rounds", str(rounds), "--sizes", *map(str, sizes)]
    done = subprocess.run([*lab, "--out", str(lab_out), "--in-lab", str(home)], check=False,
                          stdin=subprocess.DEVNULL)  # fmt: skip
    if done.returncode:
        sys.exit(done.returncode)
    found = json.loads(lab_out.read_text())
    for row, by_side in found["rounds"].items():
        for side, values in by_side.items():
            figures.rounds[row][side] += values
    play([NativeNights(home / "native", size, figures) for size in sizes], rounds)
    return figures, f"{found['machine']}, {' '.join(sh('borg', '--version').split())}"
