"""What a restore will do, found out before anything is written: from where, how much, how long.

Second step of the restore flow, and all of `restore --plan`. Rule: the restore that follows downloads
the pieces named here; what it takes beyond them is what turned out damaged on the way.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from zdiffsync.bases.bases import Bases
from zdiffsync.catalog.catalog import Point
from zdiffsync.catalog.view import PointView
from zdiffsync.errors import CatalogError, IntegrityError, ObjectMissingError, UsageError
from zdiffsync.external.tree import SnapshotTree
from zdiffsync.format.manifest import IN_BASE
from zdiffsync.model.entry import EntryType
from zdiffsync.model.progress import Progress
from zdiffsync.restore.bulk import Bulk, Wanted
from zdiffsync.restore.contents import ContentReader
from zdiffsync.restore.folders import is_name
from zdiffsync.restore.local import LocalSnapshots
from zdiffsync.restore.needs import Needs
from zdiffsync.restore.overwrite import Overwrite
from zdiffsync.restore.packs import Piece, fetched, pieces
from zdiffsync.restore.staging import Earlier, opened_earlier, staging_folder
from zdiffsync.restore.tree import Found
from zdiffsync.restore.walk import Entered, Walk, name_in


@dataclass(frozen=True, slots=True)
class Item:
    """One path of a point and its place: `name` in the directory `folder` of the target.

    `name` None: the content of directory `path` fills the target itself.
    """

    path: bytes
    folder: bytes
    name: bytes | None


@dataclass(frozen=True, slots=True)
class Request:
    """What is restored of one point, into the directory `target`."""

    point: Point
    target: Path
    items: tuple[Item, ...]
    overwrite: Overwrite

    @property
    def staging(self) -> Path:
        """Where an attempt at this keeps what it has, so that the next goes on from there."""
        parts = [self.overwrite.encode()]
        for item in self.items:
            parts += [item.path, item.folder, item.name or b"/"]
        return staging_folder(self.target, self.point.key, b"\0".join(parts))


@dataclass(slots=True)
class Plan:
    """One request, counted. Sizes in bytes.

    `size` is what will be written, `local` of it what local snapshots should have; `pieces` of packs and
    `base_bytes` of the base's `base_objects` packs will be downloaded, but for `fetched`, which an
    interrupted attempt left. `bulk` is what restic does, `bulk_bytes` its share of the `base_bytes`.
    `kept` names are in the target already.
    """

    request: Request
    files: int = 0
    directories: int = 0
    others: int = 0
    size: int = 0
    kept: int = 0
    local: int = 0
    local_files: int = 0
    snapshots: list[str] = field(default_factory=list)
    pieces: tuple[Piece, ...] = ()
    fetched: int = 0
    tables: int = 0
    base_bytes: int = 0
    base_objects: int = 0
    bulk: Bulk | None = None
    bulk_bytes: int = 0
    resumed: bool = False

    @property
    def pack_bytes(self) -> int:
        """Bytes to download from packs of increments."""
        return sum(piece.length for piece in self.pieces) - self.fetched

    @property
    def download(self) -> int:
        """Bytes to download."""
        return self.pack_bytes + self.base_bytes

    @property
    def objects(self) -> int:
        """Objects the download reads from."""
        return len({piece.pack for piece in self.pieces}) + self.base_objects


class Planner:
    """Plans requests of one point, through an open `view` of it.

    `reader` reads the op tables of large files, `local` (None: not wanted) knows the local snapshots.
    """

    def __init__(
        self, view: PointView, bases: Bases, point: Point, reader: ContentReader, local: LocalSnapshots | None
    ) -> None:
        self._view, self._bases, self._point = view, bases, point
        self._reader, self._local = reader, local
        self._walk = Walk(view, bases, point)

    def plan(self, request: Request, progress: Progress) -> Plan:
        """Return the plan of `request`; `progress` counts names.

        Raises UsageError when the point has no such path; what of it cannot be planned because it is
        damaged is left to the restore, which names it.
        """
        plan = Plan(request)
        if self._local is not None:
            plan.snapshots = self._local.names(self._point)
        needs, wanted = Needs(), Wanted()
        linked: set[int] = set()
        with ExitStack() as stack:
            there: SnapshotTree | None = None
            earlier: Earlier | None = None
            if request.target.is_dir():
                there = stack.enter_context(SnapshotTree(os.fsencode(request.target)))
                earlier = stack.enter_context(opened_earlier(there.descriptor, request.staging))
            plan.resumed = earlier is not None
            for item in request.items:
                for found in self._written(item, plan, there, earlier.placed if earlier else {}):
                    progress.advance(1)
                    if found.links == 1 or found.inode not in linked:
                        self._count(found, plan, needs, wanted)
                    if found.links > 1:
                        linked.add(found.inode)
            self._sum_up(plan, needs, wanted, earlier)
        return plan

    def _sum_up(self, plan: Plan, needs: Needs, wanted: Wanted, earlier: Earlier | None) -> None:
        """Note what is to be downloaded."""
        if self._point.restic is not None:
            plan.bulk = wanted.bulk(self._bases, self._point.restic)
        apart = needs.base_bytes + wanted.needs.base_bytes
        needs.take_blocks(wanted.needs)
        plan.base_bytes, plan.base_objects = needs.base_bytes, needs.base_packs
        if plan.bulk is not None:  # restic does not know what we fetch
            plan.base_bytes = apart
            plan.bulk_bytes = wanted.needs.base_bytes * plan.bulk.size // max(1, wanted.size)
            if earlier is not None and earlier.base_came:
                plan.base_bytes -= plan.bulk_bytes
        plan.tables = needs.tables
        blobs, sizes = dict(needs.blobs), dict[str, int]()
        for pack in needs.blobs:
            try:
                sizes[pack] = self._view.pack(pack).size
            except CatalogError:  # an op table names it, but no manifest: its readers will say so
                del blobs[pack]
        plan.pieces = tuple(pieces(blobs, sizes))
        if earlier is not None:
            plan.fetched = sum(fetched(earlier.packs, piece) for piece in plan.pieces)

    def _written(
        self, item: Item, plan: Plan, target: SnapshotTree | None, placed: Mapping[bytes, int]
    ) -> Iterator[Found]:
        """Yield what will be made; count directories and what is kept.

        `placed`: the inodes an earlier attempt moved to paths.
        """
        overwrite = plan.request.overwrite
        top = find(self._walk, self._point, item.path)
        stack = [(top, item.folder if item.name is None else join(item.folder, item.name), target)]
        if item.name is None and top.entry.type is not EntryType.DIRECTORY:
            raise UsageError("not a directory, so it cannot fill one; name the directory to put it in")
        entered = Entered()
        while stack:
            found, place, below = stack.pop()
            there = None if below is None else below.lstat(place)
            if found.entry.type is not EntryType.DIRECTORY:
                known = there is not None and placed.get(place) == there.st_ino
                if known or not overwrite.replaces(found.entry, there):
                    plan.kept += 1
                else:
                    yield found
                continue
            if there is not None and not stat.S_ISDIR(there.st_mode):
                if overwrite is Overwrite.NEVER:
                    plan.kept += 1
                    continue
                there = None
            plan.directories += place != b""
            inside = None if there is None else below
            with suppress(IntegrityError, ObjectMissingError):
                entered.add(found)
                children = reversed(self._walk.children(found))
                named = ((child, name_in(found, child)) for child in children)
                stack += [(child, join(place, name), inside) for child, name in named if is_name(name)]

    def _count(self, found: Found, plan: Plan, needs: Needs, wanted: Wanted) -> None:
        if found.entry.type is not EntryType.FILE:
            plan.others += 1
            return
        plan.files += 1
        plan.size += found.entry.size
        local = self._local is not None and self._local.hint(self._point, found) is not None
        if local:
            plan.local += found.entry.size
            plan.local_files += 1
        with suppress(IntegrityError, ObjectMissingError, CatalogError):
            if found.content == IN_BASE:
                if not local and found.stored is not None and found.node.base_path is not None:
                    wanted.add(found.node.base_path, self._bases.file(found.stored))
            elif found.content is not None:
                needs.content(self._reader, found.content, self._walk.base_file, local=local)


def find(walk: Walk, point: Point, path: bytes) -> Found:
    """Return what stands at `path`. Raises UsageError when the point has nothing there."""
    found = walk.find(path)
    if found is None:
        raise missing(point, path)
    return found


def missing(point: Point, path: bytes) -> UsageError:
    """Return the error for a path the point does not have."""
    return UsageError(
        f"point {point.key} of {point.dataset} has no {os.fsdecode(path)!r}; see zdiffsync ls {point.key}"
    )


def join(folder: bytes, name: bytes) -> bytes:
    """Return the path of `name` in `folder` (b'' is the top)."""
    return folder + b"/" + name if folder else name
