"""Deltas beside xdelta3, zstd and restic: bytes, seconds and memory for real pairs of files.

Ours is timed inside its process (Python starts once a run, not once a file), the others are processes.
Rule: end to end is the longer of making a delta and uploading it, since all write while they work.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from time import monotonic

from common import CHECKOUT, Figures, machine, restic_version, say, sh
from pairs import Pair, pairs

SLOW, FAST = 7.5e6, 1e9  # bytes a second
OURS_SLOW, OURS_FAST, OURS_KNOWN = "zdiffsync, 60 Mbit/s", "zdiffsync, 8 Gbit/s", "the same, extents known"
XDELTA, PATCH, PATCH19, WHOLE, RESTIC = "xdelta3 -9", "zstd --patch-from", "the same -19", "zstd -3", "restic"
PEERS = (XDELTA, PATCH, PATCH19, WHOLE, RESTIC)
_LARGE = 256 << 20  # bytes; larger pairs are measured once, and not at level 19, which takes half an hour
_POLL = 0.01  # seconds


@dataclass(frozen=True, slots=True)
class Made:
    """What one side took: bytes to upload, seconds, CPU seconds, bytes of memory at the peak."""

    size: int
    seconds: float
    cpu: float
    peak: int


class Tables:
    """One table for bytes, two for seconds end to end, one each for CPU seconds and memory."""

    def __init__(self) -> None:
        slow, fast = (OURS_SLOW, *PEERS), (OURS_FAST, OURS_KNOWN, *PEERS)
        every = (OURS_SLOW, OURS_FAST, OURS_KNOWN, *PEERS)
        self._figures = {
            "kB": Figures(every),
            "seconds end to end at 7.5 MB/s": Figures(slow),
            "seconds end to end at 1 GB/s": Figures(fast),
            "CPU seconds": Figures(every),
            "MiB of memory at the peak": Figures(every),
        }

    @property
    def rounds(self) -> dict[str, object]:
        """All figures, by table, row, side."""
        return {title: figures.rounds for title, figures in self._figures.items()}

    def add(self, pair: str, side: str, made: Made) -> None:
        """Note one round of one side."""
        say(f"  {side}: {made.size:,} bytes, {made.seconds:.2f} s")
        found = (
            made.size / 1000, max(made.seconds, made.size / SLOW), max(made.seconds, made.size / FAST),
            made.cpu, made.peak / (1 << 20),
        )  # fmt: skip
        for figures, figure in zip(self._figures.values(), found, strict=True):
            if side in figures.sides:
                figures.rounds[pair][side].append(figure)

    def table(self) -> str:
        """Return the medians as Markdown."""
        return "\n\n".join(f"**{title}**\n\n{figures.table()}" for title, figures in self._figures.items())


def measure(home: Path, rounds: int, only: str = "") -> tuple[Tables, str]:
    """Measure so many rounds; return the figures and what they were taken on."""
    tables = Tables()
    os.environ |= {"RESTIC_PASSWORD": "correct horse", "RESTIC_CACHE_DIR": str(home / "restic-cache")}
    for pair in pairs(home / "pairs", only):
        large = pair.new.stat().st_size > _LARGE
        for number in range(1 if large else rounds):
            for side, make in _sides(home, pair).items():
                if side != PATCH19 or (number == 0 and not large):
                    tables.add(pair.name, side, make())
    zstd = next(word for word in sh("zstd", "--version").split() if word.startswith("v")).strip("v,")
    return tables, machine("xdelta3 3.0", f"zstd {zstd}", restic_version())


def _sides(home: Path, pair: Pair) -> dict[str, Callable[[], Made]]:
    old, new, out = str(pair.old), str(pair.new), home / "out"
    sides = {
        OURS_SLOW: lambda: _ours(home, pair, SLOW, known=False),
        OURS_FAST: lambda: _ours(home, pair, FAST, known=False),
        XDELTA: lambda: _peer(out, "xdelta3", "-9", "-f", "-e", "-s", old, new, str(out)),
        PATCH: lambda: _peer(
            out, "zstd", "-q", "-f", "--long=31", f"--patch-from={old}", new, "-o", str(out)
        ),
        PATCH19: lambda: _peer(
            out, "zstd", "-q", "-19", "-f", "--long=31", f"--patch-from={old}", new, "-o", str(out)
        ),
        WHOLE: lambda: _peer(out, "zstd", "-q", "-3", "-f", new, "-o", str(out)),
        RESTIC: lambda: _restic(home, pair),
    }
    if pair.extents is not None:
        sides[OURS_KNOWN] = lambda: _ours(home, pair, FAST, known=True)
    return sides


def _ours(home: Path, pair: Pair, rate: float, *, known: bool) -> Made:
    (stage := home / "stage").mkdir()
    extents = home / "extents.json"
    extents.write_text(json.dumps(pair.extents), encoding="ascii")
    script = str(CHECKOUT / "scripts/benches/encode.py")
    command = [sys.executable, script, str(pair.old), str(pair.new), str(stage), str(rate)]
    os.environ["PYTHONPATH"] = str(CHECKOUT)
    told, made = _run([*command, str(extents)] if known else command)
    shutil.rmtree(stage)
    return replace(made, size=json.loads(told)["bytes"], seconds=json.loads(told)["seconds"])


def _peer(out: Path, *command: str) -> Made:
    _, made = _run(list(command))
    size = out.stat().st_size
    out.unlink()
    return replace(made, size=size)


def _restic(home: Path, pair: Pair) -> Made:
    repository, place = home / "restic", home / "restic-data"
    restic = ["restic", "-r", str(repository)]
    sh(*restic, "init")
    place.mkdir()
    (file := place / "file").hardlink_to(pair.old)
    sh(*restic, "backup", "-q", ".", cwd=place)
    file.unlink()
    file.hardlink_to(pair.new)
    told, made = _run([*restic, "backup", "--json", "."], place)
    shutil.rmtree(place)
    shutil.rmtree(repository)
    return replace(made, size=json.loads(told.splitlines()[-1])["data_added_packed"])


def _run(command: list[str], cwd: Path | None = None) -> tuple[bytes, Made]:
    """Run a command that must succeed; return its output and what all its processes took."""
    os.sync()  # what the last one wrote is not this one's load
    started = monotonic()
    with Popen(command, stdout=PIPE, stderr=DEVNULL, cwd=cwd) as process:
        peak = 0
        while True:
            peak = max(peak, sum(map(_peak, _tree(process.pid))))
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
            if done:
                break
            time.sleep(_POLL)
        seconds = monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.stdout is not None
        told = process.stdout.read()
    if process.returncode:
        say(f"{' '.join(command[:3])} failed")
        sys.exit(1)
    cpu = usage.ru_utime + usage.ru_stime
    return told, Made(0, seconds, cpu, peak)  # the kernel's own maximum begins with that of this process


def _tree(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        # A thread other than the first may have started them, too.
        for task in Path(f"/proc/{pid}/task").iterdir():
            if task.name != str(pid):
                children += (task / "children").read_text(encoding="ascii").split()
    except OSError:
        return [pid]
    return [pid, *(each for child in children for each in _tree(int(child)))]


def _peak(pid: int) -> int:
    """Return the most memory in bytes a process has had so far; 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM")), 0)
