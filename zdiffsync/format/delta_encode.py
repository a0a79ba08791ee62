"""Encodes a large file: finds what differs from its old version and stores that, window by window.

scan and alignment make a plan, its windows are packed in the pool's threads, their payloads handed to the
caller's sink in order, and the op table says how to put it all together again.
Rule: memory is bounded by the windows in flight, whatever the file's size.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from zdiffsync.format.align import Aligner, searched
from zdiffsync.format.align_plan import Piece, PieceKind, Plan
from zdiffsync.format.align_ranges import Range, normalized, partitioned
from zdiffsync.format.align_scan import scan
from zdiffsync.format.align_windows import windows
from zdiffsync.format.delta_estimate import delta_bytes, patched_bytes, whole_bytes
from zdiffsync.format.delta_policy import DeltaPolicy
from zdiffsync.format.delta_pool import DeltaPool
from zdiffsync.format.delta_table import TableWriter
from zdiffsync.format.delta_window import Packed, WindowPacker, without_zeros
from zdiffsync.format.windows import BlobRef, Op, OpKind, digest_of
from zdiffsync.model.bytesource import ByteSource

# Windows read ahead of those being packed.
_READ_AHEAD = 2


class PayloadSink(Protocol):
    """Where payloads go; called from the thread that encodes, in the order of the ops."""

    def put(self, payload: bytes) -> BlobRef:
        """Store `payload` and return where it lies."""


@dataclass(frozen=True, slots=True)
class EncodedContent:
    """An encoded file: its op `table` for `decode_windows`, and what it took (all sizes in bytes).

    `stored_bytes` are payloads and table; `bytes_read` counts both versions; `depends_on_old` says whether
    any op needs the old version.
    """

    table: bytes
    size: int
    stored_bytes: int
    bytes_read: int
    depends_on_old: bool


def encode_windows(
    new: ByteSource,
    old: ByteSource | None,
    sink: PayloadSink,
    *,
    extents: Sequence[Range] | None,
    data_ranges: Iterable[Range] | None,
    pool: DeltaPool,
    policy: DeltaPolicy,
    progress: Callable[[int], None],
) -> EncodedContent:
    """Store `new` as a delta against `old`, or whole if `old` is None or a delta would not pay.

    `extents`: the ranges (start, end) in bytes of `new` that may differ from `old` at the same offset; None
    if unknown. `data_ranges`: the ranges of `new` that are not holes; None if there are none. `progress` is
    told the bytes of `new` dealt with, `new.size` in sum. Errors of the sources and the sink pass through.
    """
    ours, theirs = _Counted(new), None if old is None else _Counted(old)
    data = [(0, new.size)] if data_ranges is None else normalized(data_ranges, new.size)
    told = _Told(progress, new.size)
    encoder = _Encoder(ours, sink, pool, policy, told)
    plan: Plan | None = None
    if theirs is not None:
        known = None if extents is None else normalized(extents, new.size)
        plan = _planned(ours, theirs, extents=known, data=data, policy=policy, pool=pool, told=told)
        if not encoder.pays(plan, theirs):
            plan = None
    whole = _whole(data, new.size, policy)
    table = encoder.run(whole, None) if plan is None else encoder.run(plan, theirs)
    told.all()
    encoded = table.finish()
    return EncodedContent(
        table=encoded,
        size=new.size,
        stored_bytes=encoder.stored + len(encoded),
        bytes_read=ours.count + (0 if theirs is None else theirs.count),
        depends_on_old=table.depends_on_old,
    )


def _planned(
    new: ByteSource,
    old: ByteSource,
    *,
    extents: list[Range] | None,
    data: list[Range],
    policy: DeltaPolicy,
    pool: DeltaPool,
    told: "_Told",
) -> Plan:
    def digest(data: bytes) -> Future[bytes]:
        return pool.submit(digest_of, data)

    scanned = Plan()
    for piece in scan(new, old, extents=extents, data=data, digest=digest):
        scanned.add(piece)
        if piece.kind is not PieceKind.DIFFERS:
            told(piece.length)
    index = searched(scanned.differing(), new, old)
    aligner = Aligner(new, old, index) if index else None
    plan = Plan()
    for piece in windows(scanned, new, old, aligner=aligner, length=policy.window, digest=digest):
        plan.add(piece)
    return plan


def _whole(data: list[Range], size: int, policy: DeltaPolicy) -> Iterator[Piece]:
    for start, end, is_data in partitioned(data, 0, size):
        if not is_data:
            yield Piece(PieceKind.ZERO, start, end)
            continue
        for low in range(start, end, policy.whole_window):
            yield Piece(PieceKind.DIFFERS, low, min(low + policy.whole_window, end))


@dataclass(frozen=True, slots=True)
class _Pending:
    op: Op
    packed: Future[Packed] | None


class _Encoder:
    """Turns pieces into ops and payloads."""

    def __init__(
        self, new: ByteSource, sink: PayloadSink, pool: DeltaPool, policy: DeltaPolicy, told: "_Told"
    ) -> None:
        self._new = new
        self._sink = sink
        self._pool = pool
        self._policy = policy
        self._packer = WindowPacker(pool, policy)
        self._told = told
        self._queue: deque[_Pending] = deque()
        self._in_flight = 0
        self.stored = 0

    def pays(self, plan: Plan, old: ByteSource) -> bool:
        """Return whether the differences in `plan` will take much less than the whole content."""
        whole = whole_bytes(self._new, plan, self._pool)
        most = self._policy.whole_share * whole
        if delta_bytes(self._new, old, plan, self._pool) <= most:
            return True
        differing = sum(piece.length for piece in plan.differing())
        if not self._policy.strong_pays(whole, 2 * differing):
            return False
        return patched_bytes(self._new, old, plan, self._pool, self._packer.bsdiff) <= most

    def run(self, pieces: Iterable[Piece], old: ByteSource | None) -> TableWriter:
        """Encode `pieces`, all of the new version; return the table, not yet finished."""
        table = TableWriter(None if old is None else old.size)
        for piece in pieces:
            if piece.kind is PieceKind.ZERO:
                self._queue.append(_Pending(Op(OpKind.ZERO, piece.length), None))
            elif piece.kind is PieceKind.SAME:
                op = Op(OpKind.COPY, piece.length, piece.old, piece.length, _done(piece.digest))
                self._queue.append(_Pending(op, None))
            else:
                self._submit(piece, old)
            self._drain(table, self._pool.workers + _READ_AHEAD)
        self._drain(table, 0)
        return table

    def _submit(self, piece: Piece, old: ByteSource | None) -> None:
        data = self._new.read(piece.start, piece.length)
        before = b"" if old is None else old.read(piece.old, piece.old_end - piece.old)
        for start, end, is_zero in without_zeros(data):
            likely = piece.likely - piece.old + start
            if is_zero:
                self._queue.append(_Pending(Op(OpKind.ZERO, end - start), None))
                continue
            part = data[start:end]
            packed = self._pool.submit(self._packer.pack, part, before, likely)
            self._queue.append(_Pending(Op(OpKind.LITERAL, end - start, piece.old, len(before)), packed))
            self._in_flight += 1

    def _drain(self, table: TableWriter, in_flight: int) -> None:
        """Move finished ops to `table`, waiting while more than `in_flight` windows are under way."""
        while self._queue:
            head = self._queue[0]
            if head.packed is None:
                table.add(head.op)
            elif self._in_flight <= in_flight and in_flight and not head.packed.done():
                return
            else:
                table.add(self._stored(head.op, head.packed.result()))
                self._in_flight -= 1
                self._told(head.op.length)
            self._queue.popleft()

    def _stored(self, op: Op, packed: Packed) -> Op:
        payload = self._sink.put(packed.payload)
        self.stored += len(packed.payload)
        if not packed.kind.uses_old:
            return Op(packed.kind, op.length, digest=packed.digest, payload=payload)
        return Op(packed.kind, op.length, op.old_offset, op.old_length, packed.digest, payload)


def _done(digest: bytes | Future[bytes] | None) -> bytes | None:
    return digest.result() if isinstance(digest, Future) else digest


class _Counted:
    """A source that counts the bytes read from it."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self.size = source.size
        self.count = 0

    def read(self, offset: int, length: int) -> bytes:
        self.count += length
        return self._source.read(offset, length) if length else b""


class _Told:
    """Tells `progress` no more than `size` bytes, and in the end exactly that."""

    def __init__(self, progress: Callable[[int], None], size: int) -> None:
        self._progress = progress
        self._left = size

    def __call__(self, amount: int) -> None:
        amount = min(amount, self._left)
        if amount:
            self._left -= amount
            self._progress(amount)

    def all(self) -> None:
        self(self._left)
