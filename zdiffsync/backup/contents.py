"""The bytes of changed files: unchanged after all, packed whole, or stored as a delta.

Called by the point builder for each changed file. Rule: bytes are compared with the old snapshot
before anything is stored, so a rename, a chmod or a touch uploads nothing.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from zdiffsync.backup.changes import ObjectChange
from zdiffsync.backup.packer import CountingSink, Packer
from zdiffsync.catalog.view import PointView
from zdiffsync.external.files import FileSource
from zdiffsync.external.tree import Identity, SnapshotTree
from zdiffsync.format.align_ranges import normalized, partitioned
from zdiffsync.format.delta_encode import encode_windows
from zdiffsync.format.delta_policy import DeltaPolicy
from zdiffsync.format.delta_pool import DeltaPool
from zdiffsync.format.manifest import IN_BASE, ContentRecord, PackRecord
from zdiffsync.format.windows import BlobRef
from zdiffsync.format.zstd import compress

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class ContentSettings:
    """`large_file` in bytes: from there on files are windowed; `max_depth` deltas on one whole."""

    large_file: int = 1 << 20
    max_depth: int = 8
    policy: DeltaPolicy = field(default_factory=DeltaPolicy)


@dataclass(slots=True)
class ContentStats:
    """Counts for the report; bytes throughout."""

    files_read: int = 0
    bytes_read: int = 0
    files_stored: int = 0
    bytes_new: int = 0
    deltas: int = 0
    bytes_saved_by_deltas: int = 0
    reused: int = 0


@dataclass(frozen=True, slots=True)
class Previous:
    """The content an object had at the point before: its number, or IN_BASE and its path there."""

    content: int
    base_path: bytes | None


@dataclass(frozen=True, slots=True)
class _Small:
    """A content that is one blob of a pack which is not verified yet: there may be many of them."""

    identity: Identity
    number: int
    size: int
    digest: bytes
    offset: int
    length: int

    def record(self, pack: str) -> ContentRecord:
        """Return all of it, given its pack."""
        blob = BlobRef(pack, self.offset, self.length)
        return ContentRecord(
            self.number, self.size, self.digest.hex(), windowed=False, blob=blob, packs={pack: self.length}
        )


class ContentStore:
    """Stores contents for one new point and hands out their numbers."""

    def __init__(
        self,
        *,
        old: SnapshotTree | None,
        new: SnapshotTree,
        view: PointView | None,
        packer: Packer,
        pool: DeltaPool,
        settings: ContentSettings,
        last_number: int,
        emit: Callable[[ContentRecord], None],
        progress: Callable[[int], None],
    ) -> None:
        self._old, self._new, self._view = old, new, view
        self._packer, self._pool, self._settings = packer, pool, settings
        self._number = last_number
        self._emit, self._progress = emit, progress
        self._done: dict[Identity, ContentRecord] = {}
        self._by_digest: dict[bytes, int] = {}
        self._lock = threading.Lock()
        self._waiting: list[tuple[Identity, ContentRecord, set[str]]] = []
        self._small: dict[str, list[_Small]] = {}
        self._verified: set[str] = set()
        self.stats = ContentStats()

    def resume(self, packs: list[PackRecord], contents: dict[tuple[int, int], ContentRecord]) -> None:
        """Take over what an interrupted run of the same two snapshots has stored."""
        self._verified.update(pack.pack for pack in packs)
        for (number, generation), record in contents.items():
            self._done[Identity(number, generation)] = record
            self._number = max(self._number, record.number)

    def completed_by(self, pack: PackRecord) -> Iterator[tuple[tuple[int, int], ContentRecord]]:
        """Note a verified pack; yield the contents that now lie wholly in verified packs (any thread)."""
        with self._lock:
            self._verified.add(pack.pack)
            complete = [item for item in self._waiting if item[2] <= self._verified]
            self._waiting = [item for item in self._waiting if not item[2] <= self._verified]
            small = self._small.pop(pack.pack, ())
        for identity, record, _ in complete:
            yield (identity.number, identity.generation), record
        for each in small:
            yield (each.identity.number, each.identity.generation), each.record(pack.pack)

    def store(self, change: ObjectChange, size: int, previous: Previous | None) -> int | None:
        """Return the number of the content of a file of `size` bytes (None: empty), storing it if it is new.

        `previous` is what the file held before, or what its donor held.

        Raises OSError when the file cannot be read, RemoteError when packs cannot be uploaded.
        """
        if size == 0:
            return None
        if (record := self._done.get(change.identity)) is not None:
            self.stats.reused += 1
            self._progress(size)
            self._emit(record)
            return record.number
        self.stats.files_read += 1
        with self._new.opened(change.names[0]) as fd:
            if size < self._settings.large_file:
                return self._store_small(change, FileSource(fd), previous)
            return self._store_large(change, FileSource(fd), previous)

    def _store_small(self, change: ObjectChange, new: FileSource, previous: Previous | None) -> int:
        data = new.read(0, new.size)
        self.stats.bytes_read += len(data)
        self._progress(len(data))
        if previous is not None and self._equals_old(change, data):
            return previous.content
        digest = hashlib.sha256(data).digest()
        if (number := self._known(digest, len(data))) is not None:
            return number
        blob = self._packer.put(compress(data))
        self._number += 1
        small = _Small(change.identity, self._number, len(data), digest, blob.offset, blob.length)
        self._by_digest[digest] = small.number
        with self._lock:
            self._small.setdefault(blob.pack, []).append(small)
        self._stored(small.record(blob.pack))
        return small.number

    def _equals_old(self, change: ObjectChange, data: bytes) -> bool:
        if self._old is None or change.old_path is None:
            return False
        info = self._old.lstat(change.old_path)
        if info is None or info.st_size != len(data):
            return False
        with self._old.opened(change.old_path) as fd:
            return FileSource(fd).read(0, len(data)) == data

    def _known(self, digest: bytes, size: int) -> int | None:
        number = self._by_digest.get(digest)
        if number is None and self._view is not None:
            record = self._view.content_with_digest(digest.hex(), size)
            number = record.number if record else None
        if number is not None:
            self.stats.reused += 1
        return number

    def _store_large(self, change: ObjectChange, new: FileSource, previous: Previous | None) -> int:
        old_path = change.old_path or change.donor
        if self._old is None or old_path is None or previous is None:
            return self._store_windows(change, new, None, None)
        with self._old.opened(old_path) as old_fd:
            old = FileSource(old_fd)
            # A donor's content is another object's: even if equal it is referred to through a delta.
            if change.old_path is not None and self._unchanged(change, old, new):
                self._progress(new.size)
                return previous.content
            source = previous if self._depth(previous) < self._settings.max_depth else None
            return self._store_windows(change, new, old if source else None, source)

    def _unchanged(self, change: ObjectChange, old: FileSource, new: FileSource) -> bool:
        if old.size != new.size:
            return False
        # The stream also reports holes that were there before: only where either has data can they differ.
        data = normalized([*old.data_ranges(), *new.data_ranges()], new.size)
        for start, end in normalized(change.ranges or [(0, new.size)], new.size):
            for low, high, inside in partitioned(data, start, end):
                for at in range(low, high, _BLOCK) if inside else ():
                    count = min(_BLOCK, high - at)
                    self.stats.bytes_read += 2 * count
                    if old.read(at, count) != new.read(at, count):
                        return False
        return True

    def _depth(self, previous: Previous) -> int:
        if previous.content == IN_BASE or self._view is None:
            return 0
        return self._view.content(previous.content).depth

    def _store_windows(
        self,
        change: ObjectChange,
        new: FileSource,
        old: FileSource | None,
        source: Previous | None,
    ) -> int:
        sink = CountingSink(self._packer)
        # The stream's ranges are against this object's own past, not a donor's.
        extents = change.ranges if old is not None and change.old_path is not None else None
        encoded = encode_windows(
            new, old, sink,
            extents=extents, data_ranges=new.data_ranges(),
            pool=self._pool, policy=self._settings.policy, progress=self._progress,
        )  # fmt: skip
        blob = sink.put(encoded.table)
        self.stats.bytes_read += encoded.bytes_read
        if not encoded.depends_on_old:
            source = None
        if source is not None:
            self.stats.deltas += 1
            self.stats.bytes_saved_by_deltas += max(0, new.size - sink.stored)
        self._number += 1
        record = ContentRecord(
            self._number, new.size, hashlib.sha256(encoded.table).hexdigest(), windowed=True, blob=blob,
            packs=sink.packs,
            source=source.content if source else None,
            source_path=source.base_path if source else None,
            depth=self._depth(source) + 1 if source else 0,
        )  # fmt: skip
        with self._lock:
            self._waiting.append((change.identity, record, set(sink.packs)))
        self._stored(record)
        return record.number

    def _stored(self, record: ContentRecord) -> None:
        self.stats.files_stored += 1
        self.stats.bytes_new += record.size
        self._emit(record)
