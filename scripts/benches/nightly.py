"""One night after another in datasets of growing size: scripts/bench nightly.

100 files of 10,000 to 1,000,000 change each night. zdiffsync and restic back up the same ZFS snapshots in the
lab. The lab makes system calls dear, which punishes whoever walks all files; so restic, borg and rclone sync
also run natively on this machine, over a copy of the same tree with the same changes.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

from common import RCLONE, Figures, restic, say, sh
from lab_pair import PASSWORD, LabPair, make_pool, measured_in_lab, uploaded, write_lab_figures

CHANGED = 100
_FOLDER = 100  # files
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
            self._path(number).parent.mkdir(parents=True)
            for each in range(number, number + _FOLDER):
                self._write(each, self._rng.randrange(200, 2000))

    def change(self) -> None:
        """Write anew what a night changes."""
        for number in self._rng.sample(range(self.size), CHANGED):
            self._write(number, 1000)

    def _path(self, number: int) -> Path:
        folder = number // _FOLDER
        return self.root / f"{folder // 100:03}/{folder % 100:02}/file-{number % _FOLDER:02}"

    def _write(self, number: int, size: int) -> None:
        self._path(number).write_bytes(self._rng.randbytes(size))


class LabNights:
    """One dataset in the lab."""

    def __init__(self, home: Path, size: int, figures: Figures) -> None:
        self.size, self._figures = size, figures
        self._pair = LabPair(home, f"n{size}")
        self._tree = Tree(self._pair.tree, size)

    def prepare(self) -> None:
        """Fill the dataset and make the base."""
        say(f"filling a dataset with {self.size:,} files and making its base")
        self._pair.prepare(self._tree.fill)

    def night(self) -> None:
        """Change, then back up by either side."""
        self._tree.change()
        self._pair.snapshot()
        taken, point = self._pair.ours()
        if point["modified"] != CHANGED:
            raise SystemExit(f"bench: not the night that was meant: {point}")
        self._figures.add(seconds(self.size), OURS, taken)
        self._figures.add(kilobytes(self.size), OURS, uploaded(point) / 1e3)
        taken, summary = self._pair.theirs()
        self._figures.add(seconds(self.size), PEER, taken)
        self._figures.add(kilobytes(self.size), PEER, summary["data_added_packed"] / 1e3)


class NativeNights:
    """The same tree on this machine's own file system, and what else backs up such trees."""

    def __init__(self, home: Path, size: int, figures: Figures) -> None:
        self.size, self._home, self._figures = size, home / f"{size}", figures
        self._tree = Tree(self._home / "tree", size)
        os.environ |= {
            "RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": str(self._home / "restic-cache"),
            "BORG_PASSPHRASE": PASSWORD, "BORG_BASE_DIR": str(self._home / "borg-base"),
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


def seconds(size: int) -> str:
    """Name a row."""
    return f"{size:,} files, s"


def kilobytes(size: int) -> str:
    """Name a row."""
    return f"{size:,} files, kB"


def in_lab(home: Path, rounds: int, out: Path, sizes: list[int]) -> None:
    """Measure ZFS's side; write the figures to `out`."""
    make_pool()
    figures = Figures(SIDES)
    play([LabNights(home / "lab", size, figures) for size in sizes], rounds)
    write_lab_figures(figures, out)


def play(datasets: Sequence[LabNights | NativeNights], rounds: int) -> None:
    """Prepare each and live through its nights."""
    for nights in datasets:
        nights.prepare()
        for _ in range(rounds):
            nights.night()


def measure(home: Path, rounds: int, command: list[str], sizes: list[int]) -> tuple[Figures, str]:
    """Measure all sides; `command` starts the part in the lab."""
    figures = Figures(SIDES)
    where = measured_in_lab(figures, home, rounds, command, "--sizes", ",".join(map(str, sizes)))
    play([NativeNights(home / "native", size, figures) for size in sizes], rounds)
    return figures, f"{where}, {' '.join(sh('borg', '--version').split())}"
