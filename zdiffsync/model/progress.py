"""How long work tells its progress. Rule: the worker only counts; who listens decides what is shown."""

from types import TracebackType
from typing import Protocol, Self


class Progress(Protocol):
    """One bar: `advance` by bytes (or items) done, `expect` a new total, closed by leaving `with`."""

    def advance(self, amount: int) -> None:
        """Count `amount` more units as done."""

    def expect(self, total: int) -> None:
        """Set the number of units that will be done in the end."""

    def note(self, text: str) -> None:
        """Show what is being worked on now."""

    def __enter__(self) -> Self:
        """Show the bar."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""


class ProgressFactory(Protocol):
    """Opens bars; the command line passes tqdm's, everything else a silent one."""

    def __call__(self, label: str, total: int | None = None, *, unit: str = "B") -> Progress:
        """Open a bar of `total` units (None: not known yet) named `label`."""


class SilentBar:
    """A bar nobody sees."""

    def advance(self, amount: int) -> None:
        """Ignore."""

    def expect(self, total: int) -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Ignore."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""


def silent(label: str, total: int | None = None, *, unit: str = "B") -> Progress:
    """Open a bar nobody sees."""
    del label, total, unit
    return SilentBar()
