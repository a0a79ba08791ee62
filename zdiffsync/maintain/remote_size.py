"""How much lies on the remote, measured by listing it.

At the end of runs, kept in the run record. Rule: listing a large remote takes minutes, so only after a base,
where much has come or gone since it was measured last, and once a week.
"""

from zdiffsync.maintain.run_record import RemoteSize
from zdiffsync.store.area import Area

_EVERY = 7 * 86400  # seconds
_MUCH = 0.01  # of what was there


def is_due(last: RemoteSize | None, packed: int, now: int) -> bool:
    """Tell whether to measure again, with `packed` bytes in packs; `now` in seconds since 1970."""
    if last is None or not 0 <= now - last.at < _EVERY:
        return True
    return abs(packed - last.packed) > _MUCH * last.total


def measure(plain: Area, packed: int, now: int) -> RemoteSize:
    """Add up all objects of a remote, of which this is the plain area. Raises RemoteError."""
    sizes = plain.sizes("")
    bases = sum(size for name, size in sizes.items() if name.startswith("restic/"))
    return RemoteSize(now, bases, sum(sizes.values()) - bases, packed)
