"""Reading through a mount, beside restic's own: scripts/bench mount.

Every round mounts anew with all caches empty, ours without local snapshots. Of ours the base and the
increment above it are measured, for there names and bytes come from two places.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import monotonic, sleep

from common import ZDIFFSYNC, Figures, machine, restic_version
from sample import EACH, IMAGES, MANY, Sample

BASE, INCREMENT, RESTIC = "zdiffsync, base", "zdiffsync, increment", "restic"
_READY = 120  # seconds a mount may take
_RANDOM = 400  # reads


def measure(home: Path, rounds: int) -> tuple[Figures, str]:
    """Measure so many rounds; return the figures and what they were taken on."""
    sample = Sample(home)
    figures = Figures((BASE, INCREMENT, RESTIC))
    for number in range(rounds):
        rng = random.Random(number)
        for side, mount in _sides(sample).items():
            sample.cold()
            started = monotonic()
            with mount() as root:
                list(root.iterdir())
                figures.add("mount to first listing, s", side, monotonic() - started)
                _look(figures, side, root, random.Random(rng.random()))
    return figures, machine(restic_version())


def _sides(sample: Sample) -> dict[str, Callable[[], AbstractContextManager[Path]]]:
    ours = [ZDIFFSYNC, "-c", str(sample.world.config), "mount", "--foreground", "--no-local"]
    return {
        BASE: lambda: _mounted(ours, lambda place: _point(place, 0)),
        INCREMENT: lambda: _mounted(ours, lambda place: _point(place, 1)),
        RESTIC: lambda: _mounted(sample.restic("mount"), lambda place: place / "snapshots/latest"),
    }


def _point(place: Path, number: int) -> Path:
    return sorted((place / "tank/data").glob("20*"))[number]


@contextmanager
def _mounted(command: list[str], root: Callable[[Path], Path]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        process = subprocess.Popen([*command, name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = monotonic() + _READY
        while not os.path.ismount(place):
            assert process.poll() is None, f"{command[0]} ended"
            assert monotonic() < end, f"{command[0]} did not mount"
            sleep(0.01)
        try:
            yield root(place)
        finally:
            subprocess.run(["fusermount3", "-u", name], check=True)
            process.wait()


def _look(figures: Figures, side: str, root: Path, rng: random.Random) -> None:
    started = monotonic()
    with os.scandir(root / "many") as entries:
        names = [entry.name for entry in entries if entry.stat(follow_symlinks=False).st_size]
    assert len(names) == MANY
    figures.add("entries of one directory with their attributes, per s", side, MANY / (monotonic() - started))

    started = monotonic()
    for name in rng.sample(names, 20_000):
        os.lstat(root / "many" / name)
    figures.add("stats thereafter, per s", side, 20_000 / (monotonic() - started))

    firsts = []
    for _ in range(25):
        path = root / f"docs/{rng.randrange(40):02}/{rng.randrange(EACH):02}"
        started = monotonic()
        with path.open("rb") as file:
            file.read(1)
        firsts.append(monotonic() - started)
    figures.add("first byte of a file not read before, ms", side, 1000 * statistics.median(firsts))

    started = monotonic()
    with (root / IMAGES[0]).open("rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        for _ in range(_RANDOM):
            assert len(os.pread(file.fileno(), 4096, rng.randrange(size // 4096) * 4096)) == 4096  # noqa: PLR2004
    figures.add("4 KiB at random places of an image, per s", side, _RANDOM / (monotonic() - started))

    started = monotonic()
    total = 0
    with (root / IMAGES[1]).open("rb", buffering=0) as file:
        while data := file.read(1 << 20):
            total += len(data)
    figures.add("an image from front to back, MB/s", side, total / 1e6 / (monotonic() - started))
