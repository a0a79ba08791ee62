"""Reading packs whole and holding them against their digests.

Second step of check, on request. Nothing is kept: bytes are digested as they come. Rule: what was read is
remembered also when the rest is not, so the next check goes on from there.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from time import monotonic

from zdiffsync.errors import IntegrityError, ObjectMissingError
from zdiffsync.format.manifest import PackRecord
from zdiffsync.maintain.memory import CheckMemory
from zdiffsync.model.progress import Progress
from zdiffsync.store.area import Area
from zdiffsync.store.names import pack_name

_SAVED = 30.0  # seconds between two writes of what was read


class PackReader:
    """Reads packs of `area`, several at once; `damaged` is told (pack, what is wrong)."""

    def __init__(
        self, area: Area, memory: CheckMemory, transfers: int, damaged: Callable[[PackRecord, str], None]
    ) -> None:
        self._area, self._memory, self._transfers = area, memory, transfers
        self._damaged = damaged
        self._lock = Lock()
        self._saved = monotonic()
        self.packs = 0
        self.size = 0

    def read(self, packs: Sequence[PackRecord], existing: Iterable[str], progress: Progress) -> None:
        """Read all `packs`; `existing` are the ids of all there are. Raises RemoteError."""
        known = list(existing)
        try:
            with ThreadPoolExecutor(self._transfers) as pool:
                try:
                    for _ in pool.map(lambda pack: self._one(pack, known, progress), packs):
                        pass
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
        finally:
            self._memory.save(known)

    def _one(self, pack: PackRecord, known: Sequence[str], progress: Progress) -> None:
        what = self._fault(pack, progress)
        with self._lock:
            self.packs += 1
            self.size += pack.size
            if what is None:
                self._memory.good(pack.pack)
            else:
                self._memory.bad(pack.pack, what)
                self._damaged(pack, what)
            if monotonic() - self._saved > _SAVED:
                self._memory.save(known)
                self._saved = monotonic()

    def _fault(self, pack: PackRecord, progress: Progress) -> str | None:
        digest = hashlib.sha256()
        size = 0
        try:
            for chunk in self._area.chunks(pack_name(pack.pack)):
                digest.update(chunk)
                size += len(chunk)
                progress.advance(len(chunk))
        except ObjectMissingError:
            return "is not there"
        except IntegrityError:
            return "is damaged: it cannot be decrypted"
        if size != pack.size:
            return f"gave {size:,} bytes instead of {pack.size:,}"
        return None if digest.hexdigest() == pack.sha256 else "does not match its digest"
