"""The headline picture: a night's seconds and bytes against the size of the dataset.

Drawn from the JSON of scripts/bench nightly. Rule: what is drawn are the medians of the table.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from common import Figures
from matplotlib import pyplot as plt
from nightly import OURS, SIDES, kilobytes, seconds

_COLOURS = ("#0b6e4f", "#c1440e", "#e08e45", "#5b6c8f", "#9a9a9a")


def draw(figures: Figures, sizes: list[int], out: Path) -> None:
    """Draw seconds and kilobytes of all sides over `sizes` (files) into the PNG `out`."""
    _, panels = plt.subplots(1, 2, figsize=(11, 4.2), dpi=130)
    titles = ("seconds a night", "kB uploaded a night")
    for panel, row, title in zip(panels, (seconds, kilobytes), titles, strict=True):
        for side, colour in zip(SIDES, _COLOURS, strict=True):
            found = [(size, figures.rounds[row(size)].get(side)) for size in sizes]
            points = [(size, statistics.median(values)) for size, values in found if values]
            width = 2.8 if side == OURS else 1.4
            panel.plot(*zip(*points, strict=True), marker="o", color=colour, linewidth=width, label=side)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlabel("files in the dataset, of which 100 change")
        panel.set_title(title)
        panel.grid(visible=True, which="major", alpha=0.3)
    panels[0].legend(frameon=False)
    plt.tight_layout()
    plt.savefig(out)
