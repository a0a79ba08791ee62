"""What all benches share: running and timing commands, medians, the table.

Rule: a figure is the median of at least three rounds in which all sides took turns on the same data.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

CHECKOUT = Path(__file__).resolve().parents[2]
ZDIFFSYNC = str(CHECKOUT / ".venv/bin/zdiffsync")
RCLONE = str(CHECKOUT / ".venv/bin/rclone")


def sh(*argv: str, cwd: str | Path | None = None) -> str:
    """Run a command that must succeed; return its output."""
    done = subprocess.run(argv, check=False, capture_output=True, text=True, errors="replace", cwd=cwd)
    if done.returncode:
        sys.exit(f"bench: {' '.join(argv[:3])}: {done.stderr.strip()[-500:]}")
    return done.stdout


def say(text: str) -> None:
    """Tell how far it is."""
    sys.stderr.write(f"{text}\n")


def machine(*versions: str) -> str:
    """Describe what the figures were taken on."""
    with Path("/proc/cpuinfo").open(encoding="ascii") as file:
        model = next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    return f"{platform.machine()}, {model}, {os.cpu_count()} cores; {', '.join(versions)}"


def restic_version() -> str:
    """Return the version of the restic that is measured."""
    return " ".join(sh("restic", "version").split()[:2])


def restic(place: Path) -> list[str]:
    """Return restic's command line for a repository behind rclone, as zdiffsync's bases are."""
    return ["restic", "-o", f"rclone.program={RCLONE}", "-r", f"rclone:{place}"]


class Figures:
    """Rounds of figures by row and side; higher is better where `rate`, else lower."""

    def __init__(self, sides: Sequence[str]) -> None:
        self.sides = sides
        self.rounds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def add(self, row: str, side: str, figure: float) -> None:
        """Note one round's figure."""
        self.rounds[row][side].append(figure)
        say(f"  {side}: {row}: {figure:,.4g}")

    @contextmanager
    def seconds(self, row: str, side: str) -> Iterator[None]:
        """Note how long the block takes."""
        started = monotonic()
        yield
        self.add(row, side, monotonic() - started)

    def table(self) -> str:
        """Return the medians as Markdown."""
        lines = [f"| | {' | '.join(self.sides)} |", "|---|" + "---|" * len(self.sides)]
        for row, figures in self.rounds.items():
            medians = (
                _shown(statistics.median(figures[side])) if figures[side] else "-" for side in self.sides
            )
            lines.append(f"| {row} | {' | '.join(medians)} |")
        return "\n".join(lines)


def _shown(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"  # noqa: PLR2004 - three digits
