"""What earlier checks have read, and what they found damaged.

In the state directory, in a file of its own: the catalog only repeats the manifests and may be deleted at
any time, and what was read when stands in no manifest. Losing this costs reading the same packs again,
or finding the same damage again. Rule: what two checks at once learned is kept of both.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from time import time

import msgspec

from zdiffsync.external.files import replace_private

_FILE = "check.json"


class _Stored(msgspec.Struct):
    repository: str = ""
    packs: dict[str, int] = {}  # pack: when it was last read and found right, seconds since 1970
    damaged: dict[str, str] = {}  # pack: what was wrong with it
    bases_upto: float = 0.0  # share of the bases that the present round has read
    base_packs: list[str] = []  # packs of restic's repository that were found damaged
    distrusted_ns: int = 0  # bases made before this may lack something, ns since 1970


class CheckMemory:
    """The memory of one repository, in the folder `state`."""

    def __init__(self, state: Path, repository: str) -> None:
        self._path, self._repository = state / _FILE, repository
        self._stored = self._load()
        self._good: dict[str, int] = {}
        self._bad: dict[str, str] = {}

    @property
    def damaged(self) -> Mapping[str, str]:
        """What was found wrong with packs when they were last read."""
        return self._stored.damaged

    @property
    def bases_upto(self) -> float:
        """How much of the bases, as a share of all, the present round has read."""
        return self._stored.bases_upto

    @property
    def base_packs(self) -> frozenset[str]:
        """Packs of restic's repository that restic found damaged."""
        return frozenset(self._stored.base_packs)

    @property
    def distrusted_ns(self) -> int:
        """Bases made before this (ns since 1970) may lack something; 0: none."""
        return self._stored.distrusted_ns

    def last_read(self, pack: str) -> int:
        """Return when a pack was last read, in seconds since 1970; 0: never."""
        return self._stored.packs.get(pack, 0)

    def good(self, pack: str) -> None:
        """Note that a pack was read and is right."""
        self._good[pack] = int(time())

    def bad(self, pack: str, what: str) -> None:
        """Note that a pack was read and is wrong."""
        self._bad[pack] = what

    def save(self, existing: Iterable[str], bases_upto: float | None = None) -> None:
        """Write down what was noted; packs that are not among the `existing` are forgotten.

        Raises OSError.
        """
        stored, kept = self._load(), set(existing)
        packs = stored.packs | self._good
        damaged = stored.damaged | self._bad
        stored.packs = {pack: when for pack, when in packs.items() if pack in kept}
        stored.damaged = {
            pack: what for pack, what in damaged.items() if pack in kept and pack not in self._good
        }
        if bases_upto is not None:
            stored.bases_upto = bases_upto
        self._good.clear()
        self._bad.clear()
        self._write(stored)

    def bases_damaged(self, packs: Iterable[str]) -> None:
        """Note packs of restic's repository as damaged. Raises OSError."""
        stored = self._load()
        stored.base_packs = sorted({*stored.base_packs, *packs})
        self._write(stored)

    def bases_mended(self) -> None:
        """Note that restic knows what its packs lack, so that new bases store it again. Raises OSError."""
        stored = self._load()
        # In whole seconds, as ZFS has a snapshot's time: a base that is begun at once is a new one.
        stored.base_packs, stored.distrusted_ns = [], int(time()) * 10**9
        self._write(stored)

    def _write(self, stored: _Stored) -> None:
        self._stored = stored
        replace_private(self._path, msgspec.json.encode(stored))

    def _load(self) -> _Stored:
        try:
            stored = msgspec.json.decode(self._path.read_bytes(), type=_Stored)
        except (OSError, msgspec.DecodeError):
            return _Stored(self._repository)
        return stored if stored.repository == self._repository else _Stored(self._repository)
