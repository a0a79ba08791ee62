"""One mount from beginning to end: the event loop, signals, new points, and a clean end.

Rule: whatever ends it, the directory is unmounted when the process leaves.
"""

import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyfuse3
import trio

from zdiffsync.catalog.catalog import Point
from zdiffsync.errors import ToolError, ZdiffsyncError
from zdiffsync.mount.blocks import Blocks
from zdiffsync.mount.files import OpenFiles
from zdiffsync.mount.fs import PointsFileSystem
from zdiffsync.mount.items import Folder, Item
from zdiffsync.mount.layout import LATEST, FixedFolder, Layout, LayoutMaker
from zdiffsync.mount.listings import Listings
from zdiffsync.mount.mountpoint import tune
from zdiffsync.mount.points import Source, root_item
from zdiffsync.mount.versions import Versions
from zdiffsync.mount.workers import PATIENCE, Workers

_POLL = 2.0  # seconds between looks for new points
_TASKS = 200  # requests answered at the same time

log = logging.getLogger("zdiffsync.mount")


@dataclass(frozen=True, slots=True)
class Mounting:
    """Where to mount, and how: `shared` lets other users in, `patience` is in seconds."""

    directory: Path
    shared: bool = False
    patience: float = PATIENCE


def serve(source: Source, mounting: Mounting, ready: Callable[[], None]) -> None:
    """Mount and answer the kernel until the directory is unmounted or a signal says to end.

    `ready` is called once a first listing has come through the mount. Raises ToolError when mounting
    fails, and what kept the first listing from working.
    """
    trio.run(_Session(source, mounting).run, ready)


class _Session:
    def __init__(self, source: Source, mounting: Mounting) -> None:
        self._source, self._mounting = source, mounting
        self._versions: dict[str, Versions] = {}
        self._maker = LayoutMaker(
            pyfuse3.ROOT_INODE, lambda point, root: root_item(source, point, root), self._open_versions
        )
        self._stamp = source.catalog.stamp()

    async def run(self, ready: Callable[[], None]) -> None:
        workers = Workers(self._mounting.patience)
        layout = await workers.listing(self._layout)
        for folder in _newest(layout):
            await workers.listing(folder.load)  # what is wrong with the repository is said before mounting
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            async with trio.open_nursery() as nursery:
                files = OpenFiles(Blocks(workers, nursery), workers)
                listings = Listings(workers, nursery)
                system = PointsFileSystem(layout, listings, files, enforced=self._mounting.shared)
                self._mount(system)
                try:
                    nursery.start_soon(_end_on_signal, signals, nursery.cancel_scope)
                    nursery.start_soon(self._follow, system, workers)
                    nursery.start_soon(self._settle, ready)
                    await pyfuse3.main(max_tasks=_TASKS)
                finally:
                    nursery.cancel_scope.cancel()
                    pyfuse3.close(unmount=True)

    def _mount(self, system: PointsFileSystem) -> None:
        options = {"ro", "nosuid", "nodev", "fsname=zdiffsync", "subtype=zdiffsync"}
        if self._mounting.shared:
            options |= {"allow_other", "default_permissions"}
        try:
            pyfuse3.init(system, os.fspath(self._mounting.directory), options)
        except RuntimeError as error:
            hint = "; does /etc/fuse.conf have user_allow_other?" if self._mounting.shared else ""
            raise ToolError(f"cannot mount on {self._mounting.directory}: {error}{hint}") from error

    async def _settle(self, ready: Callable[[], None]) -> None:
        directory = self._mounting.directory
        await trio.to_thread.run_sync(os.listdir, directory, abandon_on_cancel=True)
        await trio.to_thread.run_sync(tune, directory, abandon_on_cancel=True)
        ready()

    async def _follow(self, system: PointsFileSystem, workers: Workers) -> None:
        while True:
            await trio.sleep(_POLL)
            try:
                stamp = await workers.listing(self._source.catalog.stamp)
                if stamp != self._stamp:
                    system.layout = await workers.listing(self._layout)
                    self._stamp = stamp
            except ZdiffsyncError as error:
                log.error("cannot look for new points: %s", error)  # noqa: TRY400 - for people

    def _open_versions(self, dataset: str, points: Sequence[Point]) -> Item:
        if dataset not in self._versions:
            self._versions[dataset] = Versions(self._source, dataset)
        return self._versions[dataset].top(points)

    def _layout(self) -> Layout:
        catalog = self._source.catalog
        return self._maker.make(catalog.points(), catalog.roots())


async def _end_on_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _number in signals:
        scope.cancel()


def _newest(layout: Layout) -> list[Folder]:
    """Return the top directory of each dataset's last point."""
    found = []
    for item in layout.items.values():
        if not isinstance(item.folder, FixedFolder):
            continue
        listing = item.folder.load()
        if LATEST in listing and (name := listing[LATEST].entry.target) is not None:
            found.append(listing[name].folder)
    return [folder for folder in found if folder is not None]
