"""Do rewritten files look encrypted? A look at the heads of some of them, before and after.

Used by the tripwire. Bytes of an encrypted file come about equally often, those of other formats do not:
pictures, documents and archives, too, begin with headers and tables. Rule: reads a bounded number of heads.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from zdiffsync.backup.tally import Pair
from zdiffsync.external.tree import SnapshotTree

_MOST = 64  # files looked at
_HEAD = 4096  # bytes of each
_SHORTEST = 512  # bytes; of fewer nothing can be said
# Of equally likely bytes chi-squared is 255 +- 23 whatever their number, of the formats people keep in the
# thousands; up to here a short header of the encrypting program makes no difference.
_EVEN = 512.0
# How gzip, xz, zstd, bzip2, zip, 7z and lz4 begin: logs that were compressed are not encrypted.
_COMPRESSED = (
    b"\x1f\x8b",
    b"\xfd7zXZ",
    b"\x28\xb5\x2f\xfd",
    b"BZh",
    b"PK\3\4",
    b"7z\xbc\xaf",
    b"\4\x22M\x18",
)


@dataclass(frozen=True, slots=True)
class Samples:
    """`judged` files had contents that did not look random; `encrypted` of them do now."""

    judged: int = 0
    encrypted: int = 0


def take_samples(pairs: Sequence[Pair], old: SnapshotTree, new: SnapshotTree) -> Samples:
    """Look at some of the (old path, new path), evenly spread; what cannot be read is no sample."""
    judged = encrypted = 0
    for old_path, new_path in pairs[:: -(-len(pairs) // _MOST) or 1]:
        try:
            was, now = _head(old, old_path), _head(new, new_path)
        except OSError:
            continue
        if min(len(was), len(now)) >= _SHORTEST and not looks_random(was):
            judged += 1
            encrypted += looks_random(now) and not now.startswith(_COMPRESSED)
    return Samples(judged, encrypted)


def looks_random(data: bytes) -> bool:
    """Whether all byte values are about equally frequent (Pearson's chi-squared test)."""
    squares = sum(count * count for count in Counter(data).values())
    return squares * 256 / len(data) - len(data) < _EVEN


def _head(tree: SnapshotTree, path: bytes) -> bytes:
    with tree.opened(path) as fd:
        return os.read(fd, _HEAD)
