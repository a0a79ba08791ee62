"""Progress on a terminal: bars by tqdm with rate and ETA. Rule: nothing is drawn elsewhere."""

import sys
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from zdiffsync.maintain.run_stage import DATASETS
from zdiffsync.model.progress import Progress, ProgressFactory, silent


class TqdmBar:
    """One bar on stderr that removes itself when done."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        sized = unit == "B"
        self._heads = label == DATASETS  # a line that only says which dataset the bars below are of
        self._bar: tqdm[Any] = tqdm(
            desc=f"{label:>16}", total=total, unit=unit if sized else f" {unit}", unit_scale=True,
            unit_divisor=1024 if sized else 1000, leave=False, dynamic_ncols=True, file=sys.stderr,
            bar_format="{desc}  [{elapsed}]" if self._heads else None,
        )  # fmt: skip

    def advance(self, amount: int) -> None:
        """Count `amount` more as done."""
        self._bar.update(amount)

    def expect(self, total: int) -> None:
        """Set what will be done in the end."""
        self._bar.total = total
        self._bar.refresh()

    def note(self, text: str) -> None:
        """Show what is being worked on."""
        if self._heads:
            self._bar.set_description_str(f"{text:>16}")
        else:
            self._bar.set_postfix_str(text[-40:])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()


def _draw(label: str, total: int | None = None, *, unit: str = "B") -> Progress:
    return TqdmBar(label, total, unit)


def bars(*, wanted: bool) -> ProgressFactory:
    """Return what opens bars: drawn ones when `wanted` and stderr is a terminal, else silent ones."""
    return _draw if wanted and sys.stderr.isatty() else silent
