"""Restoring beside restic: scripts/bench restore.

Every round starts with all caches empty, ours without local snapshots. What came back of the whole points is
held against the tree.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from common import ZDIFFSYNC, Figures, machine, restic_version, sh
from sample import IMAGES, Sample

OURS, RESTIC = "zdiffsync", "restic"
JOBS = {  # what of the second point, and how restic is told
    "whole point, s": ("", ("latest",)),
    "a directory of 40 files, s": ("docs/07", ("latest:/docs/07",)),
    "one file of 30 kB, s": ("docs/08/11", ("latest", "--include", "/docs/08/11")),
    "an image of 268 MB, s": (IMAGES[0], ("latest", "--include", f"/{IMAGES[0]}")),
}


def measure(home: Path, rounds: int) -> tuple[Figures, str]:
    """Measure so many rounds; return the figures and what they were taken on."""
    sample = Sample(home)
    figures = Figures((OURS, RESTIC))
    target = home / "target"
    for _ in range(rounds):
        for row, (path, told) in JOBS.items():
            ours = [ZDIFFSYNC, "-c", str(sample.world.config), "-q", "restore", "--no-local"]
            commands = {
                OURS: [*ours, f"latest:{path}", "--to", str(target)],
                RESTIC: sample.restic("restore", "-q", *told, "--target", str(target)),
            }
            for side, command in commands.items():
                sample.cold()
                with figures.seconds(row, side):
                    sh(*command)
                if not path:
                    _compare(sample.tree, target, side)
                shutil.rmtree(target)
    return figures, machine(restic_version())


def _compare(tree: Path, target: Path, side: str) -> None:
    said = sh("rsync", "-aHAXnci", "--delete", f"{tree}/", f"{target}/").splitlines()
    found = [line for line in said if side == OURS or not line.endswith(" ./")]
    if found:
        raise SystemExit(f"bench: what {side} restored is different: {found[:5]}")
