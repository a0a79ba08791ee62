"""One window: which of literal, prefix and patch stores it best.

Runs in the encoder's threads, one call per window.
Rule: a payload is kept only after it has been seen to give back the very bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

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
# A literal this short leaves nothing to save.
_TINY = 64


@dataclass(frozen=True, slots=True)
class Packed:
    """A window's stored form."""

    kind: OpKind
    payload: bytes
    digest: bytes


def pack_window(new: bytes, old: bytes, pool: DeltaPool, policy: DeltaPolicy) -> Packed:
    """Return the cheapest form of `new` under `policy`; `old` are the bytes it came from, if any."""
    digest = digest_of(new)
    literal = compress(new, policy.level)
    if not old or len(literal) <= _TINY:
        return Packed(OpKind.LITERAL, literal, digest)
    kind, best = OpKind.LITERAL, literal
    prefixed = compress_prefixed(new, old, policy.level)
    if len(prefixed) < _WORTH_OLD * len(literal) and decompress_prefixed(prefixed, old, len(new)) == new:
        kind, best = OpKind.PREFIX, prefixed
    if policy.bsdiff_pays(len(best), len(new) + len(old)) and not _repetitive(old):
        patch = _patched(new, old, len(best), pool, policy)
        if patch is not None and len(patch) < _WORTH_OLD * len(best):
            kind, best = OpKind.PATCH, patch
    return Packed(kind, best, digest)


def _repetitive(data: bytes) -> bool:
    return len(data) > _REPETITIVE * len(compress(data, 1))


def _patched(new: bytes, old: bytes, rival: int, pool: DeltaPool, policy: DeltaPolicy) -> bytes | None:
    """Return a patch if a probe promises that it saves enough against `rival` bytes, and it is right."""
    if len(new) > 2 * _PROBE:
        at = (len(new) - _PROBE) // 2
        old_at = at * len(old) // len(new)
        new_probe, old_probe = new[at : at + _PROBE], old[max(0, old_at - _PROBE) : old_at + 2 * _PROBE]
        probe = pool.bsdiff(old_probe, new_probe, policy.bsdiff_seconds)
        if probe is None:
            return None
        share = len(probe) / len(compress_prefixed(new_probe, old_probe, policy.level))
        if not policy.bsdiff_pays(rival * (1 - share), len(new) + len(old)):
            return None
    patch = pool.bsdiff(old, new, policy.bsdiff_seconds)
    return patch if patch is not None and apply_patch(patch, old, len(new)) == new else None


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
