"""What a run is doing right now: its open progress bars, in a small file for `status`, as a line for systemd.

Wraps the progress of a session. Rule: costs a file a second at most, and never fails a run.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from time import monotonic
from types import TracebackType
from typing import Self

import msgspec

from zdiffsync.external.files import replace_private
from zdiffsync.external.sd_notify import tell_systemd
from zdiffsync.model.progress import Progress, ProgressFactory
from zdiffsync.model.text import size

_FILE = "running.json"
_EVERY = 1.0  # seconds
DATASETS = "datasets"  # the bar whose note is the dataset in work


class Bar(msgspec.Struct):
    """One piece of work: `done` of `total` units (None: not known); the unit B is bytes.

    `note` is the dataset in work, of the bar that counts them.
    """

    label: str
    unit: str
    total: int | None
    done: int = 0
    note: str = ""

    def text(self) -> str:
        """Return what is done and how far it is."""
        if self.total is not None:
            return f"{self.label} {self._amount(self.done)} of {self._amount(self.total)}"
        return f"{self.label} {self._amount(self.done)}" if self.done else self.label

    def _amount(self, count: int) -> str:
        return size(count) if self.unit == "B" else f"{count:,} {self.unit}"


def stages(bars: Iterable[Bar]) -> str:
    """Return all that is being done, but for the counting of datasets."""
    return ", ".join(bar.text() for bar in bars if bar.label != DATASETS)


class Stage(msgspec.Struct, frozen=True):
    """The bars a process has open."""

    pid: int
    bars: list[Bar]


def load_stage(state: Path, pid: int) -> list[Bar]:
    """Return what the run of process `pid` is doing; nothing when that is not known."""
    try:
        stage = msgspec.json.decode((state / _FILE).read_bytes(), type=Stage)
    except (OSError, msgspec.DecodeError):
        return []
    return stage.bars if stage.pid == pid else []


class StageFile:
    """The file of the process `pid`; `opened` is called when a bar opens. Several threads may use it."""

    def __init__(self, state: Path, pid: int, opened: Callable[[], None]) -> None:
        self._path, self._pid, self._opened = state / _FILE, pid, opened
        self._bars: list[Bar] = []
        self._lock = Lock()
        self._next = 0.0

    def over(self, factory: ProgressFactory) -> ProgressFactory:
        """Return what opens the bars of `factory` and notes them in the file."""

        def watched(label: str, total: int | None = None, *, unit: str = "B") -> Progress:
            return _Watched(self, factory(label, total, unit=unit), Bar(label, unit, total))

        return watched

    def remove(self) -> None:
        """Take the file away: nothing is going on any more."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def begin(self, bar: Bar) -> None:
        """Note a new bar."""
        self._opened()
        with self._lock:
            self._bars.append(bar)
            self._write()

    def end(self, bar: Bar) -> None:
        """Forget a bar."""
        with self._lock:
            self._bars.remove(bar)

    def moved(self) -> None:
        """Write how far the bars are, unless that was done a moment ago."""
        if monotonic() >= self._next:
            with self._lock:
                self._write()

    def _write(self) -> None:
        self._next = monotonic() + _EVERY
        with suppress(OSError):
            replace_private(self._path, msgspec.json.encode(Stage(self._pid, self._bars)))
        dataset = next((bar.note for bar in self._bars if bar.note), "")
        if line := ": ".join(part for part in (dataset, stages(self._bars)) if part):
            tell_systemd(STATUS=line)


class _Watched:
    def __init__(self, file: StageFile, inner: Progress, bar: Bar) -> None:
        self._file, self._inner, self._bar = file, inner, bar

    def advance(self, amount: int) -> None:
        """Count `amount` more."""
        self._inner.advance(amount)
        self._bar.done += amount
        self._file.moved()

    def expect(self, total: int) -> None:
        """Set a new total."""
        self._inner.expect(total)
        self._bar.total = total

    def note(self, text: str) -> None:
        """Show what is being worked on: names of files stay out of the file."""
        self._inner.note(text)
        if self._bar.label == DATASETS:
            self._bar.note = text

    def __enter__(self) -> Self:
        self._inner.__enter__()
        self._file.begin(self._bar)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.end(self._bar)
        self._inner.__exit__(kind, error, trace)
