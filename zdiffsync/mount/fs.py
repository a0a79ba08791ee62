"""The file system: what the kernel asks, answered from listings, blocks and the layout.

Rule: a handler never blocks and never raises anything but FUSEError, or the whole mount would stop.
"""

import errno
import functools
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, ReaddirToken, RequestContext, StatvfsData

from zdiffsync.errors import ZdiffsyncError
from zdiffsync.model.entry import EntryType
from zdiffsync.mount.attributes import attributes, nothing
from zdiffsync.mount.files import OpenFiles
from zdiffsync.mount.items import Folder, Item
from zdiffsync.mount.layout import Layout
from zdiffsync.mount.listings import Listings
from zdiffsync.mount.table import InodeTable, release

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
_NAME_MAX = 255
_WRITING = os.O_WRONLY | os.O_RDWR

log = logging.getLogger("zdiffsync.mount")


def _answered(
    handler: Callable[Concatenate["PointsFileSystem", int, _Parameters], Coroutine[Any, Any, _Result]],
) -> Callable[Concatenate["PointsFileSystem", int, _Parameters], Coroutine[Any, Any, _Result]]:
    """Turn whatever goes wrong into EIO for this one request, with a line in the log."""

    @functools.wraps(handler)
    async def answer(
        self: "PointsFileSystem", number: int, /, *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> _Result:
        try:
            return await handler(self, number, *args, **kwargs)
        except FUSEError:
            raise
        except ZdiffsyncError as error:
            log.error("%s: %s", self.place(handler.__name__, number), error)  # noqa: TRY400 - for people
        except Exception:
            log.exception("%s: a bug in %s", self.place(handler.__name__, number), handler.__name__)
        raise FUSEError(errno.EIO)

    return answer


class PointsFileSystem(pyfuse3.Operations):
    """Answers the kernel. `layout` is replaced when points come or go.

    `enforced`: let the kernel hold other users to owners, modes and ACLs.
    """

    supports_dot_lookup = False

    def __init__(self, layout: Layout, listings: Listings, files: OpenFiles, *, enforced: bool) -> None:
        super().__init__()
        self.enable_acl = enforced
        self.layout = layout
        self._listings, self._files = listings, files
        self._table = InodeTable()
        self._directories: dict[int, tuple[Folder, list[tuple[bytes, Item]]]] = {}
        self._last_handle = 0

    def place(self, handler: str, number: int) -> str:
        """Return what messages call an inode or, for handlers that have one, a handle."""
        if handler == "read":
            return self._files.file(number).place
        if handler == "readdir":
            return self._directories[number][0].place
        if (item := self.layout.items.get(number)) is not None and item.folder is not None:
            return item.folder.place
        if (folder := self._table.folder(number)) is not None:
            return folder.place
        if (where := self._table.where(number)) is not None:
            folder, name = where
            return f"{folder.place}/{name.decode(errors='backslashreplace')}"
        return f"inode {number}"

    @_answered
    async def lookup(self, number: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        """Find a name in a directory."""
        del ctx
        folder = await self._folder(number)
        listing = await self._listings.of(folder)
        item = listing.get(name) or folder.hidden.get(name)
        if item is None:
            return nothing(lasting=folder.lasting)
        self._remember(folder, name, item)
        self._give_up_surplus()
        return attributes(item, lasting=folder.lasting)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """Take back what the kernel no longer knows."""
        release(self._table, inode_list)

    @_answered
    async def getattr(self, number: int, ctx: RequestContext) -> EntryAttributes:
        """Return the attributes of an inode."""
        del ctx
        item = await self._item(number)
        where = self._table.where(number)
        return attributes(item, lasting=where is not None and where[0].lasting)

    @_answered
    async def readlink(self, number: int, ctx: RequestContext) -> bytes:
        """Return a symlink's target."""
        del ctx
        target = (await self._item(number)).entry.target
        if target is None:
            raise FUSEError(errno.EINVAL)
        return target

    @_answered
    async def getxattr(self, number: int, name: bytes, ctx: RequestContext) -> bytes:
        """Return one extended attribute."""
        del ctx
        for key, value in (await self._item(number)).entry.xattrs:
            if key == name:
                return value
        raise FUSEError(pyfuse3.ENOATTR)

    @_answered
    async def listxattr(self, number: int, ctx: RequestContext) -> list[bytes]:
        """Return the names of an inode's extended attributes."""
        del ctx
        return [key for key, _ in (await self._item(number)).entry.xattrs]

    @_answered
    async def opendir(self, number: int, ctx: RequestContext) -> int:
        """Open a directory: what it holds at this moment is what is listed."""
        del ctx
        folder = await self._folder(number)
        items = list((await self._listings.of(folder)).items())
        self._last_handle += 1
        self._directories[self._last_handle] = folder, items
        return self._last_handle

    @_answered
    async def readdir(self, number: int, start_id: int, token: ReaddirToken) -> None:
        """List a directory from position `start_id` on, as far as the answer has room."""
        folder, items = self._directories[number]
        for position in range(start_id, len(items)):
            name, item = items[position]
            found = attributes(item, lasting=folder.lasting)
            if not pyfuse3.readdir_reply(token, name, found, position + 1):
                break
            self._remember(folder, name, item)
        self._give_up_surplus()

    async def releasedir(self, fh: int) -> None:
        """Close a directory."""
        self._directories.pop(fh, None)

    @_answered
    async def open(self, number: int, flags: int, ctx: RequestContext) -> FileInfo:
        """Open a file. What it holds never changes, so the kernel may keep what it has read of it."""
        del ctx
        if flags & _WRITING:
            raise FUSEError(errno.EROFS)
        item = await self._item(number)
        if item.content is None:
            raise FUSEError(errno.EISDIR if item.entry.type is EntryType.DIRECTORY else errno.EINVAL)
        return FileInfo(fh=self._files.open(item, item.content), keep_cache=True)

    @_answered
    async def read(self, number: int, off: int, size: int) -> bytes:
        """Read from an open file."""
        return await self._files.file(number).read(off, size)

    async def release(self, fh: int) -> None:
        """Close a file."""
        self._files.close(fh)

    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        """Return a file system that has no room."""
        del ctx
        found = StatvfsData()
        found.f_bsize = found.f_frsize = 4096
        found.f_namemax = _NAME_MAX
        return found

    async def _item(self, inode: int) -> Item:
        item = self.layout.items.get(inode)
        if item is not None:
            return item
        where = self._table.where(inode)
        if where is None:
            raise FUSEError(errno.ESTALE)
        folder, name = where
        item = (await self._listings.of(folder)).get(name)
        if item is None or item.inode != inode:
            raise FUSEError(errno.ESTALE)
        return item

    async def _folder(self, inode: int) -> Folder:
        folder = self._table.folder(inode)
        if folder is None:
            folder = (await self._item(inode)).folder
        if folder is None:
            raise FUSEError(errno.ENOTDIR)
        return folder

    def _remember(self, folder: Folder, name: bytes, item: Item) -> None:
        if item.inode not in self.layout.items:
            self._table.remember(folder, name, item)

    def _give_up_surplus(self) -> None:
        for parent, name in self._table.surplus():
            pyfuse3.invalidate_entry_async(parent, name, ignore_enoent=True)
