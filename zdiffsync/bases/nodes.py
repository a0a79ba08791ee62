"""A directory of a base as restic stores it, decoded: one node a name, complete and exact.

Rule: names, targets and xattrs are the bytes that were on disk; what does not parse is an IntegrityError.
Format: restic's design document, "Trees and Data"; internal/data/node.go.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from zdiffsync.errors import IntegrityError
from zdiffsync.external.restic_node import TreeNode, entry_of, unquote
from zdiffsync.model.entry import Entry, EntryType


@dataclass(frozen=True, slots=True)
class BaseNode:
    """One name in a directory of a base.

    `inode` is the ZFS object number, `links` the number of its names (0: not counted), `subtree` the id of
    a directory's tree in hex ("" for others), `content` the ids of a file's chunks, 32 bytes each, joined.
    """

    name: bytes
    entry: Entry
    inode: int
    links: int
    subtree: str = ""
    content: bytes = b""


class _StoredNode(TreeNode, gc=False):
    subtree: str | None = None
    content: list[str] | None = None


class _Tree(msgspec.Struct):
    nodes: list[_StoredNode]


_ID = 32
_NO_NAMES = (b"", b".", b"..")
_TREE = re.compile("[0-9a-f]{64}")
_DECODER = msgspec.json.Decoder(_Tree)


def decode_tree(data: bytes) -> Mapping[bytes, BaseNode]:
    """Return the nodes of one stored directory by name. Raises IntegrityError."""
    try:
        return {(node := _node(record)).name: node for record in _DECODER.decode(data).nodes}
    except ValueError as error:  # msgspec's own errors are ValueErrors, too
        raise IntegrityError(f"a directory stored by restic does not parse ({error})") from error


def _node(record: _StoredNode) -> BaseNode:
    name = unquote(record.name)
    if b"/" in name or b"\0" in name or name in _NO_NAMES:
        raise ValueError(f"not a name: {name!r}")
    content = b""
    if record.content:
        content = bytes.fromhex("".join(record.content))
        if len(content) != _ID * len(record.content):
            raise ValueError(f"{name!r} has a chunk whose id has not the length of one")
    entry = entry_of(record)
    subtree = record.subtree or ""
    if not _TREE.fullmatch(subtree) if entry.type is EntryType.DIRECTORY else subtree:
        raise ValueError(f"{name!r} has the tree {subtree!r}")
    return BaseNode(name, entry, record.inode, record.links, subtree, content)
