"""What is different between two versions of something: metadata by fields, bytes by digests.

Under history, find and diff. Rule: no byte of a file is fetched to compare it, and what the digests at
hand cannot tell is said to be unknown.
"""

from collections.abc import Callable
from dataclasses import dataclass

from zdiffsync.bases.nodes import BaseNode
from zdiffsync.format.manifest import IN_BASE, ContentRecord
from zdiffsync.model.entry import Entry

_ID = 32  # bytes of a chunk's id: the SHA-256 of its plain bytes

Lookup = Callable[[int, int], ContentRecord]


@dataclass(frozen=True, slots=True)
class Bytes:
    """What a file holds, as far as it is known without reading: a content of `chain`, or the base's chunks.

    `content` is as in tree.Found; `stored` the node of the base for IN_BASE.
    """

    chain: int
    size: int
    content: int | None
    stored: BaseNode | None


def metadata_changes(old: Entry, new: Entry) -> list[str]:
    """Return the names of what differs: type, mode, owner, time, target, device, xattrs."""
    fields = (
        ("type", old.type, new.type),
        ("mode", old.mode, new.mode),
        ("owner", (old.uid, old.gid), (new.uid, new.gid)),
        ("time", old.mtime_ns, new.mtime_ns),
        ("target", old.target, new.target),
        ("device", old.rdev, new.rdev),
        ("xattrs", old.xattrs, new.xattrs),
    )
    return [name for name, one, other in fields if one != other]


def same_bytes(one: Bytes, other: Bytes, lookup: Lookup) -> bool | None:
    """Return whether two files hold the same; None when the digests at hand cannot tell.

    `lookup` gives a content by the chain's id and its number.
    """
    if one.size != other.size:
        return False
    if one.size == 0:
        return True
    if one.content == other.content and one.chain == other.chain and one.content != IN_BASE:
        return True
    digests = [_digests(each, lookup) for each in (one, other)]
    if digests[0] is not None and digests[1] is not None:
        if digests[0] == digests[1]:
            return True
        # One repository cuts equal bytes into equal chunks; a file stored whole is one digest, though.
        if len(digests[0]) == len(digests[1]) or one.content == other.content == IN_BASE:
            return False
    # In a chain another content is stored only when the bytes were found to be others.
    return False if one.chain == other.chain and one.content != other.content else None


def _digests(file: Bytes, lookup: Lookup) -> tuple[bytes, ...] | None:
    if file.content == IN_BASE:
        if file.stored is None:
            return None
        chunks = file.stored.content
        return tuple(chunks[at : at + _ID] for at in range(0, len(chunks), _ID))
    if file.content is None:
        return None
    record = lookup(file.chain, file.content)
    return None if record.windowed else (bytes.fromhex(record.digest),)
