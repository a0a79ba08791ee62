"""Measurements beside restic and others, on the same data in the same run.

nightly  100 changed files in datasets of growing size, beside restic, borg and rclone sync
delta    two versions of a file: bytes, seconds, memory, beside xdelta3, zstd and restic
large    little changed in large files, on ZFS in the lab
packs    many small new files, on ZFS in the lab
real     a night of real changes to this machine's own /usr, on ZFS in the lab: base, increment, restore
mount    reading through a mount: listings, stats, cold files, random and sequential reads
restore  whole points, directories, files
catalog  1,000 points of 1,000 changes each: rebuild, and looking at them
million  a million changes in one run: memory and seconds, by phase

Prints a Markdown table and writes JSON (--out); nightly draws a picture, too (--plot).
Rule: all sides do the same job on the same bytes.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

import catalogs
import deltas
import large
import million
import mounted
import nightly
import packs
import real
import restored
from common import Figures

COMMAND = [sys.executable, __file__]
SIZES = [10_000, 100_000, 200_000, 1_000_000]


class Measured(Protocol):
    """What a bench returns beside the machine: medians as Markdown, all rounds for the JSON."""

    @property
    def rounds(self) -> Mapping[str, object]:
        """All figures."""

    def table(self) -> str:
        """Return the medians."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("what", choices=["real", *benches(SIZES)])
    add("--rounds", type=int, default=3, help="whose medians are shown (3); real has one")
    add("--sizes", type=counts, default=SIZES, metavar="N,…", help="files of nightly's datasets, ascending")
    add("--out", type=Path, default=Path("bench.json"), help="where the JSON goes")
    add("--plot", type=Path, default=Path("bench.png"), help="where nightly's picture goes")
    add("--in-lab", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.what == "real":
        sys.exit(real.main(options.out.resolve(), options.in_lab, COMMAND))
    if options.in_lab is not None:
        in_lab(options.what, options.sizes)(options.in_lab, options.rounds, options.out)
        return
    home = Path(tempfile.mkdtemp(prefix="zdiffsync-bench.", dir="/var/tmp"))
    try:
        figures, machine = benches(options.sizes)[options.what](home, options.rounds)
    finally:
        shutil.rmtree(home)
    options.out.write_text(json.dumps({"machine": machine, "rounds": figures.rounds}, indent=1) + "\n")
    if options.what == "nightly":
        import plot  # noqa: PLC0415 - matplotlib is slow to start, and nobody else needs it

        assert isinstance(figures, Figures), "nightly has one table"
        plot.draw(figures, options.sizes, options.plot)
    sys.stdout.write(f"{figures.table()}\n\nMedians of {options.rounds} rounds; {machine}\n")


def counts(text: str) -> list[int]:
    """Read numbers separated by commas; raises ValueError."""
    return [int(part) for part in text.split(",")]


def benches(sizes: list[int]) -> dict[str, Callable[[Path, int], tuple[Measured, str]]]:
    """Return all benches but the one that has a way of its own; `sizes` are nightly's."""
    return {
        "nightly": partial(nightly.measure, command=[*COMMAND, "nightly"], sizes=sizes),
        "large": partial(large.measure, command=[*COMMAND, "large"]),
        "packs": partial(packs.measure, command=[*COMMAND, "packs"]),
        "delta": deltas.measure,
        "mount": mounted.measure,
        "restore": restored.measure,
        "catalog": catalogs.measure,
        "million": million.measure,
    }


def in_lab(what: str, sizes: list[int]) -> Callable[[Path, int, Path], None]:
    """Return the part of a bench that runs in the lab."""
    parts: dict[str, Callable[[Path, int, Path], None]]
    parts = {"nightly": partial(nightly.in_lab, sizes=sizes), "large": large.in_lab, "packs": packs.in_lab}
    return parts[what]


if __name__ == "__main__":
    main()
