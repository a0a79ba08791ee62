"""The coverage certificate: what the send stream says has changed, asked by object number.

Built from the stream once a run, consulted by reconcile. Rule: an object the stream calls changed is
either explained by the change set or looked for; none is passed over.
"""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet

from zdiffsync.errors import IntegrityError, ToolError
from zdiffsync.external.tree import Identity
from zdiffsync.external.zfs_send import incremental_stream
from zdiffsync.format.send_stream import StreamObject, read_objects

_END = 1 << 63  # beyond any file
_ONE_BLOCK = 128 << 10  # bytes; ZFS writes so much as a whole, and knowing where helps nobody
_ALL: list[tuple[int, int]] = [(0, _ONE_BLOCK)]
_NOTHING: list[tuple[int, int]] = []
_GENERATION = (1 << 32) - 1  # what a file handle has of it


class Certificate:
    """The objects of one incremental stream that a path can lead to."""

    def __init__(self, objects: Iterable[StreamObject]) -> None:
        self._objects: dict[int, StreamObject] = {}
        for item in objects:
            if item.nameless or item.links == 0:
                continue
            if item.file_size <= _ONE_BLOCK:
                item.ranges = _ALL if item.ranges else _NOTHING  # of a million files a million were held
            self._objects[item.number] = item

    def must_compare(self, number: int) -> bool:
        """Whether the object's content may differ even if its times do not."""
        item = self._objects.get(number)
        return item is not None and not item.directory and (item.written or item.holed)

    def written(self, number: int) -> bool:
        """Whether data of the object were written for certain."""
        return number in self._objects and self._objects[number].written

    def ranges(self, number: int) -> tuple[tuple[int, int], ...] | None:
        """Return the (start, end) in bytes that may differ in a file, None when that is not known."""
        item = self._objects.get(number)
        if item is None or item.tail is None:
            return None
        return (*item.ranges, (item.tail, _END))

    def parent(self, number: int) -> int | None:
        """Return the number of the directory an object was last linked into, if that is known."""
        item = self._objects.get(number)
        return None if item is None else item.parent

    def directories(self) -> Iterator[Identity]:
        """Yield the changed directories."""
        for item in self._objects.values():
            if item.directory and item.generation is not None:
                yield Identity(item.number, item.generation & _GENERATION)

    def unexplained(self, files: AbstractSet[int], directories: AbstractSet[int], since_ns: int) -> set[int]:
        """Return the changed objects that are neither examined `files` nor listed `directories`.

        An object in the stream without data of its own has changed only if its ctime is not older than
        the old snapshot (`since_ns`): its neighbours' change rewrites the block it shares with them.
        """
        return {
            item.number
            for item in self._changed(since_ns)
            if item.number not in (directories if item.directory else files)
        }

    def extent(self, since_ns: int) -> tuple[int, bool]:
        """Return how many objects changed, and whether any is in a directory that did not."""
        changed = list(self._changed(since_ns))
        directories = {item.number for item in changed if item.directory}
        return len(changed), any(item.parent not in directories for item in changed if not item.directory)

    def _changed(self, since_ns: int) -> Iterator[StreamObject]:
        for item in self._objects.values():
            if item.written or item.holed or item.ctime_ns is None or item.ctime_ns >= since_ns:
                yield item


def certify(old: str, new: str) -> tuple[Certificate | None, str | None]:
    """Read the stream between two snapshots; without a certificate say why there is none."""
    try:
        with incremental_stream(old, new) as stream:
            return Certificate(read_objects(stream)), None
    except (ToolError, IntegrityError) as error:
        return None, str(error)
