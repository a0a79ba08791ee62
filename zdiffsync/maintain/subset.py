"""Which packs a check reads: all, every t-th, or those that were not read for longest.

Rule: `n/t` is restic's and says which; a share or a size goes round, so that repeated checks read all.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Self

from zdiffsync.errors import UsageError
from zdiffsync.format.manifest import PackRecord
from zdiffsync.maintain.memory import CheckMemory

_PART = re.compile(r"([1-9][0-9]*)/([1-9][0-9]*)")
_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?)%")
_SIZE = re.compile(r"([0-9]+)([kKmMgGtT]?)")
_MOST = 256  # restic tells packs apart by the first byte of their ids
_ALL = 100.0


@dataclass(frozen=True, slots=True)
class Subset:
    """`part` (n, t), or a `share` of everything up to 1, or a `size` in bytes. None of them: everything."""

    part: tuple[int, int] | None = None
    share: float | None = None
    size: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `n/t`, `N%` or `nG`. Raises UsageError."""
        if match := _PART.fullmatch(text):
            number, count = int(match[1]), int(match[2])
            if number <= count <= _MOST:
                return cls(part=(number, count))
        elif match := _SHARE.fullmatch(text):
            if 0 < (share := float(match[1])) <= _ALL:
                return cls(share=share / _ALL)
        elif (match := _SIZE.fullmatch(text)) and int(match[1]):
            return cls(size=int(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " "))
        raise UsageError(
            f"{text!r} is no subset; write it like 1/7 (up to {_MOST} parts), 5% or 2G, as for restic check"
        )

    def packs(self, packs: Mapping[str, PackRecord], memory: CheckMemory, total: int) -> list[PackRecord]:
        """Return the packs to read; `total` are the bytes of all packs and bases."""
        if self.part is not None:
            number, count = self.part
            return [pack for key, pack in sorted(packs.items()) if int(key[:2], 16) % count == number - 1]
        ordered = sorted(packs.values(), key=lambda pack: (memory.last_read(pack.pack), pack.pack))
        left = self._share(total) * sum(pack.size for pack in packs.values())
        chosen = []
        for pack in ordered:
            if left <= 0:
                break
            chosen.append(pack)
            left -= pack.size
        return chosen

    def of_bases(self, upto: float, total: int) -> tuple[str, float | None]:
        """Return restic's name of the part of the bases that is next after `upto`, and how far it reaches.

        restic's own share is a random one; parts of a fixed number, one after the other, miss nothing.
        """
        if self.part is not None:
            return f"{self.part[0]}/{self.part[1]}", None
        count = max(1, min(_MOST, ceil(1 / max(self._share(total), 1 / _MOST) - 1e-9)))
        number = int(upto * count + 1e-9) % count
        return f"{number + 1}/{count}", (number + 1) / count % 1

    def _share(self, total: int) -> float:
        if self.size is not None:
            return min(1.0, self.size / max(1, total))
        return 1.0 if self.share is None else self.share
