"""Seconds per stage of a run, for the report. Rule: measured by the monotonic clock."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic


class Stopwatch:
    """Adds up the seconds spent in named stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body of a `with` as part of stage `name`."""
        started = monotonic()
        try:
            yield
        finally:
            self.add(name, monotonic() - started)

    def add(self, name: str, seconds: float) -> None:
        """Count `seconds` measured elsewhere."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
