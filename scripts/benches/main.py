"""Measurements beside restic, on the same data in the same run.

real     a night of real changes to this machine's own /usr, on ZFS in the lab: base, increment, restore
mount    reading through a mount: listings, stats, cold files, random and sequential reads
restore  whole points, directories, files
delta    two versions of a file: bytes, seconds, memory, beside xdelta3, zstd and restic

Prints a Markdown table and writes JSON (--out). Rule: both sides do the same job on the same bytes.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import deltas
import mounted
import real
import restored


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["real", "mount", "restore", "delta"])
    parser.add_argument("--rounds", type=int, default=3, help="of mount and restore; medians are shown (3)")
    parser.add_argument("--out", type=Path, default=Path("bench.json"), help="where the JSON goes")
    parser.add_argument("--in-lab", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.what == "real":
        sys.exit(real.main(options.out.resolve(), options.in_lab, [sys.executable, __file__]))
    measure(options.what, options.rounds, options.out)


def measure(what: str, rounds: int, out: Path) -> None:
    """Run one of the benches on this machine."""
    home = Path(tempfile.mkdtemp(prefix="zdiffsync-bench.", dir="/var/tmp"))
    try:
        figures, machine = {"mount": mounted, "restore": restored, "delta": deltas}[what].measure(
            home, rounds
        )
    finally:
        shutil.rmtree(home)
    out.write_text(json.dumps({"machine": machine, "rounds": figures.rounds}, indent=1) + "\n")
    sys.stdout.write(f"{figures.table()}\n\nMedians of {rounds} rounds; {machine}\n")


if __name__ == "__main__":
    main()
