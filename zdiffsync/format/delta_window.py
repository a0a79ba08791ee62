"""One window: which of literal, prefix and patch stores it best.

Runs in the encoder's threads, one call per window: cheap forms first, bsdiff where it may pay.
Rule: a payload is kept only after it has been seen to give back the very bytes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from zdiffsync.errors import IntegrityError
from zdiffsync.format.delta_patch import apply_patch
from zdiffsync.format.delta_policy import DeltaPolicy
from zdiffsync.format.delta_pool import DeltaPool
from zdiffsync.format.windows import OpKind, digest_of
from zdiffsync.format.zstd import STRONGEST, compress, compress_prefixed, decompress_prefixed

# Zeros in runs of at least this become an op of their own.
ZERO_RUN = 64 << 10

# A payload that needs the old version must be this much smaller than one that does not.
_WORTH_OLD = 0.95
# bsdiff is quadratic on repetitive input, which zstd shrinks at least so much (text: 3 to 6, logs: 20).
_REPETITIVE = 100
# What is packed first to learn what the whole would save, and the most it can be expected to.
_PROBE = 64 << 10
# In shorter windows changes are too few for a probe to hit what is typical.
_UNPROBED = 1 << 20
_MOST_SAVED = 0.5
# What the quick way hardly makes smaller no level does.
_NOISE = 0.98
# So many seconds a strong form has in each content to show what it saves.
_TRIAL = 3.0
# A delta this small a share of its window is kept without seeing how small the window is alone.
_SURE = 0.1
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


_Form = Callable[[bytes, bytes, Packed], Packed | None]


class WindowPacker:
    """Packs the windows of one content; usable from several threads."""

    def __init__(self, pool: DeltaPool, policy: DeltaPolicy) -> None:
        self._pool = pool
        self._policy = policy
        self._given_up = 0
        self._worth: dict[_Form, _Worth] = {self._patched: _Worth(), self._strong: _Worth()}

    def pack(self, new: bytes, old: bytes, likely: int) -> Packed:
        """Return the cheapest form of `new`; `old` are the bytes it came from, if any, from `likely` on."""
        quick = self._quick(new, old)
        best = quick
        if len(quick.payload) > _TINY:
            for form in self._promising(new, old, likely, quick):
                made = self._tried(form, new, old, best)
                if made and len(made.payload) < len(best.payload) * _least_gain(best.kind, made.kind):
                    best = made
        self._pool.effort.stored += len(best.payload)
        return best

    def bsdiff(self, old: bytes, new: bytes) -> bytes | None:
        """Return a patch, or None if `old` and `new` are of a kind that bsdiff is too slow for."""
        if self._given_up >= _MOST_GIVEN_UP or _repetitive(old) or _repetitive(new):
            return None
        patch = self._pool.bsdiff(old, new, self._policy.bsdiff_seconds)
        if patch is None:
            self._given_up += 1
        return patch

    def _quick(self, new: bytes, old: bytes) -> Packed:
        digest = digest_of(new)
        prefixed = compress_prefixed(new, old, self._policy.level) if old else b""
        fits = bool(old) and decompress_prefixed(prefixed, old, len(new)) == new
        if fits and len(prefixed) < _SURE * len(new):
            return Packed(OpKind.PREFIX, prefixed, digest)
        literal = compress(new, self._policy.level)
        if fits and len(literal) > _TINY and len(prefixed) < _WORTH_OLD * len(literal):
            return Packed(OpKind.PREFIX, prefixed, digest)
        return Packed(OpKind.LITERAL, literal, digest)

    def _patched(self, new: bytes, old: bytes, quick: Packed) -> Packed | None:
        patch = self.bsdiff(old, new) if old else None
        return Packed(OpKind.PATCH, patch, quick.digest) if patch and _gives(patch, old, new) else None

    def _strong(self, new: bytes, old: bytes, quick: Packed) -> Packed | None:
        if len(quick.payload) > _NOISE * len(new):
            return None
        if quick.kind is OpKind.LITERAL:
            return Packed(OpKind.LITERAL, compress(new, STRONGEST), quick.digest)
        prefixed = compress_prefixed(new, old, STRONGEST)
        fits = decompress_prefixed(prefixed, old, len(new)) == new
        return Packed(OpKind.PREFIX, prefixed, quick.digest) if fits else None

    def _promising(self, new: bytes, old: bytes, likely: int, quick: Packed) -> list[_Form]:
        """Return the strong forms worth their CPU time: the better one, or both without a probe."""
        policy, effort, rival = self._policy, self._pool.effort, len(quick.payload)
        length = len(new) + len(old)
        if not policy.strong_pays(_MOST_SAVED * rival, length):
            return []
        if not policy.affords(effort.seconds, effort.stored, self._pool.workers):
            return []
        forms = [form for form, worth in self._worth.items() if worth.pays(policy)]
        if len(new) <= _UNPROBED:
            return forms
        at = (len(new) - _PROBE) // 2
        old_at = likely + at
        part, old_part = new[at : at + _PROBE], old[max(0, old_at - _PROBE) : old_at + 2 * _PROBE]
        probe = self._quick(part, old_part)
        shares: dict[_Form, float] = {}
        for form in forms:
            made = self._tried(form, part, old_part, probe)
            saved = 1 - len(made.payload) / len(probe.payload) if made else 0.0
            if policy.strong_pays(saved * rival, length):
                shares[form] = saved
        return [max(shares, key=lambda form: shares[form])] if shares else []

    def _tried(self, form: _Form, new: bytes, old: bytes, rival: Packed) -> Packed | None:
        made = form(new, old, rival)
        # Reckoned, not measured: what is stored must not depend on what else the machine does.
        spent = (len(new) + len(old)) / self._policy.strong_bytes_per_second
        self._pool.effort.seconds += spent
        saved = len(rival.payload) - len(made.payload) if made else 0
        self._worth[form].add(spent, max(0, saved))
        return made


@dataclass(slots=True)
class _Worth:
    """What a strong form took (seconds) and saved (bytes) in one content."""

    seconds: float = 0.0
    saved: int = 0

    def add(self, seconds: float, saved: int) -> None:
        self.seconds += seconds
        self.saved += saved

    def pays(self, policy: DeltaPolicy) -> bool:
        return self.seconds < _TRIAL or policy.pays(self.saved, self.seconds)


def _least_gain(kind: OpKind, other: OpKind) -> float:
    return _WORTH_OLD if other.uses_old and not kind.uses_old else 1.0


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
