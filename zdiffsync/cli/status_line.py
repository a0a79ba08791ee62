"""What a service does, as one line for `systemctl status`: fed by the same progress as bars are.

Rule: at most one line a second, and a new stage at once.
"""

import threading
from time import monotonic
from types import TracebackType
from typing import Self

from zdiffsync.cli.text import size
from zdiffsync.external.sd_notify import tell_systemd
from zdiffsync.model.progress import Progress

DATASETS = "datasets"  # the bar whose note is the dataset in work
_EVERY = 1.0  # seconds


class StatusLine:
    """All open bars as one line; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bars: list[_Bar] = []
        self._told = 0.0

    def __call__(self, label: str, total: int | None = None, *, unit: str = "B") -> Progress:
        """Open a bar."""
        return _Bar(self, label, total, unit)

    def opened(self, bar: "_Bar") -> None:
        """Take a bar into the line."""
        with self._lock:
            self._bars.append(bar)
            self._tell()

    def closed(self, bar: "_Bar") -> None:
        """Take a bar out of the line."""
        with self._lock:
            self._bars.remove(bar)

    def moved(self) -> None:
        """Tell the line again when the last time is long enough ago."""
        if monotonic() - self._told >= _EVERY:
            with self._lock:
                self._tell()

    def _tell(self) -> None:
        self._told = monotonic()
        dataset = next((bar.noted for bar in self._bars if bar.label == DATASETS and bar.noted), None)
        stages = ", ".join(bar.text() for bar in self._bars if bar.label != DATASETS)
        line = ": ".join(part for part in (dataset, stages) if part)
        if line:
            tell_systemd(STATUS=line)


class _Bar:
    """One stage of the line."""

    def __init__(self, line: StatusLine, label: str, total: int | None, unit: str) -> None:
        self._line, self.label, self._total, self._unit = line, label, total, unit
        self._done = 0
        self.noted = ""

    def text(self) -> str:
        """Return the stage and how far it is."""
        if self._total:
            share = min(1.0, self._done / self._total)
            return f"{self.label} {share:.0%} of {self._amount(self._total)}"
        return f"{self.label} {self._amount(self._done)}" if self._done else self.label

    def advance(self, amount: int) -> None:
        """Count `amount` more as done."""
        self._done += amount
        self._line.moved()

    def expect(self, total: int) -> None:
        """Set what will be done in the end."""
        self._total = total

    def note(self, text: str) -> None:
        """Remember what is being worked on."""
        self.noted = text

    def _amount(self, count: int) -> str:
        return size(count) if self._unit == "B" else f"{count:,} {self._unit}"

    def __enter__(self) -> Self:
        self._line.opened(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.closed(self)
