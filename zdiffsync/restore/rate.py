"""How fast this machine downloads, learned from restores: what a plan's minutes are made of.

Rule: a guess says that it is one.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_FILE = "download-rate.json"
_GUESS = 7 << 20  # bytes a second: a 60 Mbit/s line
_LEAST = 8 << 20  # bytes; a smaller download measures latency
_WEIGHT = 0.5  # of the newest measurement


@dataclass(frozen=True, slots=True)
class DownloadRate:
    """Bytes a second; `measured` tells a memory from a guess."""

    per_second: float
    measured: bool

    @classmethod
    def read(cls, state: Path) -> Self:
        """Return what the state directory remembers, else a guess."""
        try:
            return cls(float(json.loads((state / _FILE).read_bytes())["bytes_per_second"]), measured=True)
        except (OSError, ValueError, KeyError, TypeError):
            return cls(_GUESS, measured=False)

    def learn(self, state: Path, received: int, seconds: float) -> None:
        """Remember that `received` bytes came within `seconds`, if that says anything."""
        if received < _LEAST or seconds <= 0:
            return
        rate = received / seconds
        if self.measured:
            rate = _WEIGHT * rate + (1 - _WEIGHT) * self.per_second
        new = state / f"{_FILE}.new"
        new.write_text(json.dumps({"bytes_per_second": round(rate)}), encoding="ascii")
        new.rename(state / _FILE)

    def seconds(self, size: int) -> float:
        """Return how long a download of `size` bytes takes."""
        return size / self.per_second
