"""What is different between two versions of something: metadata by fields, bytes by digests.

Under history, find and diff. Rule: no byte of a file is fetched to compare it, and what the digests at
hand cannot tell is said to be unknown.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from zdiffsync.bases.nodes import BaseNode
from zdiffsync.format.manifest import IN_BASE, ContentRecord
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.restore.spans import SpanTree, State, same_object

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
    """Return the names of what differs: type alone, or of mode, owner, time, target, device, xattrs."""
    if old.type is not new.type:
        return ["type"]
    fields = (
        ("mode", old.mode, new.mode),
        ("owner", (old.uid, old.gid), (new.uid, new.gid)),
        ("time", old.mtime_ns, new.mtime_ns),
        ("target", old.target, new.target),
        ("device", old.rdev, new.rdev),
        ("xattrs", old.xattrs, new.xattrs),
    )
    return [name for name, one, other in fields if one != other]


def same_bytes(one: Bytes, other: Bytes, lookup: Lookup, *, one_object: bool) -> bool | None:
    """Return whether two files hold the same; None when the digests at hand cannot tell.

    `lookup` gives a content by the chain's id and its number; `one_object`: both are one file, at two points.
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
    # In a chain a file gets another content only when its bytes were found to be others.
    return False if one_object and one.chain == other.chain and one.content != other.content else None


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


class ContentLookup:
    """Finds the contents of a SpanTree's chains, those of many states by one statement."""

    def __init__(self, tree: SpanTree) -> None:
        self._tree = tree
        self._found: dict[tuple[int, int], ContentRecord] = {}

    def __call__(self, chain: int, number: int) -> ContentRecord:
        """Return content `number` of a chain of the tree."""
        if (chain, number) not in self._found:
            self._load(chain, {number})
        return self._found[chain, number]

    def load(self, states: Iterable[State]) -> None:
        """Find the contents of all these states."""
        wanted: dict[int, set[int]] = {}
        for state in states:
            if state.content is not None and state.content != IN_BASE:
                wanted.setdefault(state.span.chain, set()).add(state.content)
        for chain, numbers in wanted.items():
            self._load(chain, numbers)

    def _load(self, chain: int, numbers: set[int]) -> None:
        for number, record in self._tree.chains[chain].rows.contents(numbers).items():
            self._found[chain, number] = record


def differences(old: State, new: State, lookup: ContentLookup) -> list[str]:
    """Return how two states of a path differ: "content" (or "content?"), metadata, "replaced"; [] when not.

    Where the bytes cannot be told apart and nothing else differs, they are taken for the same.
    """
    if old.place is new.place and old.entry is new.entry:
        return []
    changes = metadata_changes(old.entry, new.entry)
    one_object = same_object(old, new)
    if old.entry.type is new.entry.type is EntryType.FILE:
        one, other = (
            Bytes(each.span.chain, each.entry.size, each.content, each.place.stored) for each in (old, new)
        )
        same = same_bytes(one, other, lookup, one_object=one_object)
        if same is False:
            changes = ["content", *(each for each in changes if each != "time")]
        elif same is None and changes:
            changes = ["content?", *changes]
    if "type" not in changes and not one_object:
        changes.append("replaced")
    return changes
