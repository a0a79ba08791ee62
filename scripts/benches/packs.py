"""Many small new files in one night: scripts/bench packs.

20,000 new files of 0.5 to 20 kB, half of each compressible, in 200 directories of a dataset in the lab;
zdiffsync and restic back up the same snapshots.
"""

from __future__ import annotations

import random
from pathlib import Path

from common import Figures, say
from lab_pair import LabPair, make_pool, measured_in_lab, uploaded, write_lab_figures

FOLDERS, EACH = 200, 100
SIDES = ("zdiffsync", "restic")
OURS, PEER = SIDES


def in_lab(home: Path, rounds: int, out: Path) -> None:
    """Measure; write the figures to `out`."""
    make_pool()
    figures = Figures(SIDES)
    pair = LabPair(home, "packs")
    rng = random.Random(6)
    pair.prepare(lambda: _grow(pair.tree / "first", rng))
    for number in range(rounds):
        size = _grow(pair.tree / f"night {number}", rng)
        pair.snapshot()
        say(f"{FOLDERS * EACH:,} files of {size / 1e6:.1f} MB")
        taken, point = pair.ours()
        _add(figures, OURS, size, taken, uploaded(point))
        taken, summary = pair.theirs()
        _add(figures, PEER, size, taken, summary["data_added_packed"])
    write_lab_figures(figures, out)


def _grow(folder: Path, rng: random.Random) -> int:
    total = 0
    for number in range(FOLDERS):
        inner = folder / f"{number:03}"
        inner.mkdir(parents=True)
        for each in range(EACH):
            size = rng.randrange(500, 20_000)
            half = rng.randbytes(size // 2)
            (inner / f"{each:02}").write_bytes(half + half.hex().encode()[: size - size // 2])
            total += size
    return total


def _add(figures: Figures, side: str, size: int, taken: float, stored: float) -> None:
    figures.add("seconds", side, taken)
    figures.add("files per s", side, FOLDERS * EACH / taken)
    figures.add("MB per s", side, size / 1e6 / taken)
    figures.add("MB uploaded", side, stored / 1e6)


def measure(home: Path, rounds: int, command: list[str]) -> tuple[Figures, str]:
    """Measure in the lab, which `command` starts this bench in."""
    figures = Figures(SIDES)
    return figures, measured_in_lab(figures, home, rounds, command)
