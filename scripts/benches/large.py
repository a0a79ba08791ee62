"""Large files of which little changes: scripts/bench large.

In the lab: 1,000 random 4 KiB pages written into a file of 4 GiB, and one byte inserted at the front of a
file of 1 GiB, which is written anew as an editor would; both of bytes that do not compress.
"""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from common import Figures, say, sh
from lab_pair import LabPair, make_pool, measured_in_lab, uploaded, write_lab_figures

SIDES = ("zdiffsync", "restic")
OURS, PEER = SIDES
_PAGE, _PAGES = 4096, 1000
_IMAGE, _TEXT = 4 << 30, 1 << 30
_BLOCK = 1 << 20
_RECORD = 128 << 10


def in_lab(home: Path, rounds: int, out: Path) -> None:
    """Measure; write the figures to `out`."""
    make_pool()
    figures = Figures(SIDES)
    rng = random.Random(7)
    image, text = LabPair(home, "image"), LabPair(home, "text")
    say("writing 4 GiB and 1 GiB, and their bases")
    image.prepare(lambda: _write(image.tree / "disk.img", _IMAGE, rng))
    text.prepare(lambda: _write(text.tree / "text", _TEXT, rng))
    for _ in range(rounds):
        pages = rng.sample(range(_IMAGE // _PAGE), _PAGES)
        with (image.tree / "disk.img").open("r+b", buffering=0) as file:
            for page in pages:
                file.seek(page * _PAGE)
                file.write(rng.randbytes(_PAGE))
        records = _RECORD * len({page * _PAGE // _RECORD for page in pages})
        _night(figures, "4 GiB, 1,000 pages written", image, written=_PAGES * _PAGE, records=records)
        new = text.tree / "new"
        with new.open("wb") as file:
            file.write(rng.randbytes(1))
            file.flush()
            subprocess.run(["cat", text.tree / "text"], check=True, stdout=file)
        new.rename(text.tree / "text")
        _night(figures, "1 GiB, a byte inserted in front", text, written=0, records=0)
    write_lab_figures(figures, out)


def _write(path: Path, size: int, rng: random.Random) -> None:
    with path.open("wb") as file:
        for _ in range(size // _BLOCK):
            file.write(rng.randbytes(_BLOCK))


def _night(figures: Figures, row: str, pair: LabPair, *, written: int, records: int) -> None:
    pair.snapshot()
    taken, point = pair.ours()
    figures.add(f"{row}: s", OURS, taken)
    figures.add(f"{row}: MB uploaded", OURS, uploaded(point) / 1e6)
    figures.add(f"{row}: MB read", OURS, point["read_bytes"] / 1e6)
    if written:
        figures.add(f"{row}: uploaded for each byte written", OURS, uploaded(point) / written)
        figures.add(f"{row}: read for each byte of changed records", OURS, point["read_bytes"] / records)
    taken, summary = pair.theirs()
    figures.add(f"{row}: s", PEER, taken)
    figures.add(f"{row}: MB uploaded", PEER, summary["data_added_packed"] / 1e6)
    figures.add(f"{row}: MB read", PEER, summary["total_bytes_processed"] / 1e6)
    sh("zpool", "sync")


def measure(home: Path, rounds: int, command: list[str]) -> tuple[Figures, str]:
    """Measure in the lab, which `command` starts this bench in."""
    figures = Figures(SIDES)
    return figures, measured_in_lab(figures, home, rounds, command)
