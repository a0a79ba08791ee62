"""Listings of folders, loaded when they are looked at and kept while there is room.

Between the file system and the folders. Rule: a folder is loaded once however many ask for it at the
same time, and never on the event loop's thread.
"""

from collections import OrderedDict

import trio

from zdiffsync.mount.items import Folder, Listing
from zdiffsync.mount.workers import Workers

_LIMIT = 200_000  # items kept, at some 700 bytes each
_EACH = 8  # an empty directory counts as so many items


class _Loading:
    """A load under way: who waits for it, and how it ended."""

    __slots__ = ("done", "error", "listing")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.listing: Listing | None = None
        self.error: Exception | None = None


class Listings:
    """Loads and keeps listings. For tasks of one event loop; `nursery` is where loads run."""

    def __init__(self, workers: Workers, nursery: trio.Nursery, limit: int = _LIMIT) -> None:
        self._workers, self._nursery, self._limit = workers, nursery, limit
        self._kept: OrderedDict[Folder, int] = OrderedDict()
        self._size = 0
        self._loading: dict[Folder, _Loading] = {}

    async def of(self, folder: Folder) -> Listing:
        """Return what `folder` holds. Raises what loading it raises."""
        if folder.listing is not None and not folder.outdated:
            if folder in self._kept:
                self._kept.move_to_end(folder)
            return folder.listing
        loading = self._loading.get(folder)
        if loading is None:
            loading = self._loading[folder] = _Loading()
            self._nursery.start_soon(self._load, folder, loading)
        await loading.done.wait()
        if loading.listing is None:
            assert loading.error is not None
            raise loading.error
        return loading.listing

    async def _load(self, folder: Folder, loading: _Loading) -> None:
        try:
            loading.listing = await self._workers.listing(folder.load)
        except Exception as error:  # noqa: BLE001 - it is for those who wait
            loading.error = error
        else:
            self._keep(folder, loading.listing)
        finally:
            del self._loading[folder]
            loading.done.set()

    def _keep(self, folder: Folder, listing: Listing) -> None:
        folder.listing = listing
        self._size -= self._kept.pop(folder, 0)
        self._kept[folder] = _EACH + len(listing)
        self._size += _EACH + len(listing)
        while self._size > self._limit and len(self._kept) > 1:
            oldest, size = self._kept.popitem(last=False)
            oldest.listing = None
            self._size -= size
