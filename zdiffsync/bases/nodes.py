"""A directory of a base as restic stores it, decoded: one node a name, complete and exact.

Rule: names, targets and xattrs are the bytes that were on disk; what does not parse is an IntegrityError.
Format: restic's design document, "Trees and Data"; internal/data/node.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from zdiffsync.errors import IntegrityError
from zdiffsync.external.restic_node import TreeNode, entry_of, unquote
from zdiffsync.model.entry import Entry


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


_DECODER = msgspec.json.Decoder(_Tree)


def decode_tree(data: bytes) -> Mapping[bytes, BaseNode]:
    """Return the nodes of one stored directory by name. Raises IntegrityError."""
    try:
        return {(node := _node(record)).name: node for record in _DECODER.decode(data).nodes}
    except ValueError as error:  # msgspec's own errors are ValueErrors, too
        raise IntegrityError(f"a directory stored by restic does not parse ({error})") from error


def _node(record: _StoredNode) -> BaseNode:
    content = bytes.fromhex("".join(record.content)) if record.content else b""
    return BaseNode(
        unquote(record.name), entry_of(record), record.inode, record.links, record.subtree or "", content
    )
