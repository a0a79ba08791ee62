"""The bases of a repository: directories and files of restic snapshots, found by path.

What trees of points stand on. Rule: a directory is asked for once; its listing is kept on disk and,
while there is room, in memory.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from zdiffsync.bases.files import BaseFile, ChunkCache
from zdiffsync.bases.nodes import BaseNode, decode_tree
from zdiffsync.bases.objects import Objects
from zdiffsync.errors import IntegrityError
from zdiffsync.format.zstd import compress, decompress
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.store.object_cache import ObjectCache
from zdiffsync.store.remote import ReadableArea
from zdiffsync.store.secret import Secret

_KEPT_NODES = 200_000  # at some 600 bytes each
_EACH = 8  # an empty directory counts as so many nodes
_LARGEST = 1 << 30  # bytes of a stored directory


class Bases:
    """Reads bases; thread-safe, and opens nothing before the first call that needs it.

    `area` is the plain area of the remote, `cache` a private folder for index tables. Directory listings
    that lie in `blocks` need neither password nor remote. `sparing`: see ObjectCache.over.
    """

    def __init__(
        self,
        area: ReadableArea,
        password: Secret,
        cache: Path,
        blocks: ObjectCache,
        *,
        sparing: bool = False,
    ) -> None:
        self._objects = Objects(area, password, cache, blocks, sparing=sparing)
        self._chunks = ChunkCache(self._objects)
        self._disk = blocks
        self._lock = threading.Lock()
        self._roots: dict[str, str] = {}
        self._trees: OrderedDict[str, Mapping[bytes, BaseNode]] = OrderedDict()
        self._held = 0

    def root(self, snapshot: str) -> str:
        """Return the tree id of a snapshot's root. Raises ObjectMissingError, IntegrityError, RemoteError."""
        found = self._roots.get(snapshot)
        if found is None:
            key = f"{snapshot}-root"
            kept = self._disk.get(key)
            found = kept.decode() if kept else self._objects.snapshot_tree(snapshot)
            if not kept:
                self._disk.put(key, found.encode())
            self._roots[snapshot] = found
        return found

    def tree(self, identifier: str) -> Mapping[bytes, BaseNode]:
        """Return a directory by name. Raises IntegrityError, ObjectMissingError, RemoteError."""
        with self._lock:
            if (tree := self._trees.get(identifier)) is not None:
                self._trees.move_to_end(identifier)
                return tree
        tree = self._load(identifier)
        with self._lock:
            if identifier not in self._trees:
                self._trees[identifier] = tree
                self._held += len(tree) + _EACH
            while self._held > _KEPT_NODES and len(self._trees) > 1:
                self._held -= len(self._trees.popitem(last=False)[1]) + _EACH
        return tree

    def directory(self, snapshot: str, path: bytes) -> Mapping[bytes, BaseNode] | None:
        """Return what the directory at `path` holds, None when there is no directory. Raises like `tree`."""
        tree = self.tree(self.root(snapshot))
        for name in path.split(b"/") if path else ():
            node = tree.get(name)
            if node is None or not node.subtree:
                return None
            tree = self.tree(node.subtree)
        return tree

    def node(self, snapshot: str, path: bytes) -> BaseNode | None:
        """Return what stands at `path`, None when nothing does. Raises like `tree`.

        Of the root restic records nothing but its tree: metadata and inode are zero.
        """
        if not path:
            return BaseNode(b"", Entry(EntryType.DIRECTORY, 0, 0, 0, 0), 0, 0, self.root(snapshot))
        head, _, name = path.rpartition(b"/")
        return (self.directory(snapshot, head) or {}).get(name)

    def file(self, node: BaseNode) -> BaseFile:
        """Open a file; nothing is fetched before it is read."""
        return BaseFile(node, self._chunks)

    def _load(self, identifier: str) -> Mapping[bytes, BaseNode]:
        key = f"{identifier}-tree"
        blob = bytes.fromhex(identifier)
        kept = self._disk.get(key)
        if kept is not None:
            with suppress(IntegrityError):
                data = decompress(kept, _LARGEST)
                if sha256(data).digest() == blob:
                    return decode_tree(data)
            self._disk.drop(key)
        data = self._objects.blob(blob)
        tree = decode_tree(data)
        self._disk.put(key, compress(data))
        return tree
