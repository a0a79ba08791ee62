"""One window: which of literal, prefix and patch stores it best.

Runs in the encoder's threads, one call per window: cheap forms first, bsdiff where it may pay.
Rule: a payload is kept only after it has been seen to give back the very bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from zdiffsync.errors import IntegrityError
from zdiffsync.format.delta_patch import apply_patch
from zdiffsync.format.delta_policy import DeltaPolicy
from zdiffsync.format.delta_pool import DeltaPool
from zdiffsync.format.windows import OpKind, digest_of
from zdiffsync.format.zstd import compress, compress_prefixed, decompress_prefixed

# Zeros in runs of at least this become an op of their own.
ZERO_RUN = 64 << 10

# A payload that needs the old version must be this much smaller than one that does not.
_WORTH_OLD = 0.95
# bsdiff is quadratic on repetitive input, which zstd shrinks at least so much (text: 3 to 6, logs: 20).
_REPETITIVE = 100
# What is diffed first to learn what the whole would save.
_PROBE = 64 << 10
# A content on which bsdiff was given up so often is of a kind it does not suit.
_MOST_GIVEN_UP = 3
# A literal this short leaves nothing to save.
_TINY = 64


@dataclass(frozen=True, slots=True)
class Packed:
    """A window's stored form."""

    kind: OpKind
    payload: bytes
    digest: bytes


class WindowPacker:
    """Packs the windows of one content; usable from several threads."""

    def __init__(self, pool: DeltaPool, policy: DeltaPolicy) -> None:
        self._pool = pool
        self._policy = policy
        self._given_up = 0

    def pack(self, new: bytes, old: bytes, likely: int) -> Packed:
        """Return the cheapest form of `new`; `old` are the bytes it came from, if any, from `likely` on."""
        digest = digest_of(new)
        literal = compress(new, self._policy.level)
        if not old or len(literal) <= _TINY:
            return Packed(OpKind.LITERAL, literal, digest)
        kind, best = OpKind.LITERAL, literal
        prefixed = compress_prefixed(new, old, self._policy.level)
        if len(prefixed) < _WORTH_OLD * len(literal) and decompress_prefixed(prefixed, old, len(new)) == new:
            kind, best = OpKind.PREFIX, prefixed
        if self._promises(new, old, likely, len(best)):
            patch = self.bsdiff(old, new)
            if patch and len(patch) < _WORTH_OLD * len(best) and _gives(patch, old, new):
                kind, best = OpKind.PATCH, patch
        return Packed(kind, best, digest)

    def bsdiff(self, old: bytes, new: bytes) -> bytes | None:
        """Return a patch, or None if `old` and `new` are of a kind that bsdiff is too slow for."""
        if self._given_up >= _MOST_GIVEN_UP or _repetitive(old) or _repetitive(new):
            return None
        patch = self._pool.bsdiff(old, new, self._policy.bsdiff_seconds)
        if patch is None:
            self._given_up += 1
        return patch

    def _promises(self, new: bytes, old: bytes, likely: int, rival: int) -> bool:
        """Return whether a bsdiff may be worth its CPU time against `rival` bytes."""
        length = len(new) + len(old)
        if not self._policy.bsdiff_pays(rival, length):
            return False
        if len(new) <= 2 * _PROBE:
            return True
        at = (len(new) - _PROBE) // 2
        old_at = likely + at
        new_part, old_part = new[at : at + _PROBE], old[max(0, old_at - _PROBE) : old_at + 2 * _PROBE]
        patch = self.bsdiff(old_part, new_part)
        if patch is None:
            return False
        share = len(patch) / len(compress_prefixed(new_part, old_part, self._policy.level))
        return self._policy.bsdiff_pays(rival * (1 - share), length)


def _gives(patch: bytes, old: bytes, new: bytes) -> bool:
    try:
        return apply_patch(patch, old, len(new)) == new
    except IntegrityError:
        # More steps than a reader allows: no proof says that bsdiff never makes so many.
        return False


def _repetitive(data: bytes) -> bool:
    return len(data) > _REPETITIVE * len(compress(data, 1))


def without_zeros(data: bytes) -> Iterator[tuple[int, int, bool]]:
    """Cut `data` at long runs of zeros: yield (start, end, is zeros), in order, covering it."""
    run = bytes(ZERO_RUN)
    at = 0
    while at < len(data):
        start = data.find(run, at)
        if start < 0:
            yield at, len(data), False
            return
        if start > at:
            yield at, start, False
        at = len(data) - len(data[start:].lstrip(b"\0"))
        yield start, at, True
