"""The restore flow: plan, fetch, assemble, clean up.

Local snapshots first, the remote for what they lack. Rule: nothing is written before the plan is made,
and an interrupted restore goes on when the same is asked for again.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from zdiffsync.bases.bases import Bases
from zdiffsync.catalog.catalog import Catalog
from zdiffsync.catalog.view import PointView
from zdiffsync.errors import IntegrityError, ObjectMissingError, RemoteError, ToolError, UsageError
from zdiffsync.external.restic import Restic
from zdiffsync.format.manifest import IN_BASE
from zdiffsync.model.progress import ProgressFactory
from zdiffsync.restore.assemble import Assembler, Opened, lstat
from zdiffsync.restore.bulk import StagedBase, fetch
from zdiffsync.restore.contents import ContentReader, FetchBlob, MemorySource
from zdiffsync.restore.folders import reach
from zdiffsync.restore.local import LocalSnapshots
from zdiffsync.restore.metadata import apply_metadata
from zdiffsync.restore.packs import BlobArea, FetchedPacks
from zdiffsync.restore.plan import Plan, Planner, Request, find
from zdiffsync.restore.report import RestoreReport
from zdiffsync.restore.staging import Staging, opened_staging
from zdiffsync.restore.tree import Found
from zdiffsync.restore.walk import Walk

_GO_ON = "run the same command again, it goes on where this one stopped"


@dataclass(frozen=True, slots=True)
class Restorer:
    """What restores work with.

    `area` holds the packs, `fetch` reads small blobs of them through the cache, `restic` brings what is much
    of the base, `local` (None: not wanted) knows the local snapshots, `received` counts the bytes that we
    read from the remote so far.
    """

    catalog: Catalog
    bases: Bases
    area: BlobArea
    fetch: FetchBlob
    restic: Callable[[], Restic]
    local: LocalSnapshots | None
    received: Callable[[], int]
    progress: ProgressFactory
    transfers: int

    def plan(self, request: Request) -> Plan:
        """Find out what restoring `request` takes. Raises UsageError when the point has no such path."""
        with self.catalog.view(request.point) as view, self.progress("planning", unit="names") as bar:
            reader = ContentReader(view, self.fetch, Walk(view, self.bases, request.point).base_file)
            return Planner(view, self.bases, request.point, reader, self.local).plan(request, bar)

    def restore(self, plan: Plan) -> RestoreReport:
        """Carry out a plan; what fails file by file is in the report.

        Raises RemoteError when the remote is gone, UsageError when the target is full, LockedError when
        another process does the same; what was fetched until then stays for the next attempt.
        """
        request = plan.request
        report = RestoreReport(resumed=plan.resumed)
        received = self.received()
        request.target.mkdir(parents=True, exist_ok=True)
        try:
            with self.catalog.view(request.point) as view, _opened(request.target) as root:
                walk = Walk(view, self.bases, request.point)
                with opened_staging(root, request.staging) as staging:
                    self._assemble(plan, view, walk, staging, root, report)
                for item in request.items:
                    if item.name is None:
                        apply_metadata(root, b".", find(walk, request.point, item.path).entry, report.warn)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            raise UsageError(f"{request.target} is full; make room and {_GO_ON}") from error
        except (IntegrityError, ObjectMissingError):
            raise
        except RemoteError as error:
            raise RemoteError(f"{error}; {_GO_ON}") from error
        report.downloaded += self.received() - received
        return report

    def _assemble(
        self, plan: Plan, view: PointView, walk: Walk, staging: Staging, root: int, report: RestoreReport
    ) -> None:
        request = plan.request
        with ExitStack() as stack:
            packs = FetchedPacks(
                self.area, staging.packs, plan.pieces, fetch=self.fetch, transfers=self.transfers
            )
            stack.enter_context(packs)
            reader = ContentReader(view, packs.fetch, walk.base_file)
            staged = self._bulk(plan, staging, report)
            if staged is not None:
                stack.enter_context(staged)
            bar = stack.enter_context(self.progress("restoring", plan.size))
            made: list[bytes] = []
            assembler = Assembler(
                walk, lambda found: self._opening(request, reader, found), staging, staged, root,
                overwrite=request.overwrite, report=report, progress=bar.advance, threads=self.transfers,
            )  # fmt: skip
            with assembler:
                for item in request.items:
                    found = find(walk, request.point, item.path)
                    if item.name is None:
                        assembler.fill(found)
                    else:
                        made += _make_parents(root, item.folder, staging)
                        assembler.place(found, item.folder, item.name)
            for parent in reversed(made):
                entry = find(walk, request.point, parent).entry
                with reach(root, parent) as directory:
                    apply_metadata(directory, b".", entry, report.warn)

    def _bulk(self, plan: Plan, staging: Staging, report: RestoreReport) -> StagedBase | None:
        """Return what restic brings, or had brought to an interrupted attempt; None when it has no part."""
        snapshot = plan.request.point.restic
        root = os.geteuid() == 0
        if staging.base_is_whole:
            return StagedBase(staging.base, exact=root)
        if plan.bulk is None or snapshot is None:
            return None
        try:
            with self.progress("fetching the base", plan.bulk.size) as bar:
                whole = fetch(self.restic(), snapshot, plan.bulk, staging.base, bar)
        except ToolError as error:
            report.warn(f"without restic this takes longer: {error}")
            return None
        if whole:
            staging.base_came()
        report.downloaded += plan.bulk_bytes
        return StagedBase(staging.base, exact=root and whole)

    def _opening(self, request: Request, reader: ContentReader, found: Found) -> Callable[[], Opened]:
        """Look a file up in the catalog; what is returned opens it without."""
        number, base_path = found.content, found.node.base_path
        if number is None:
            return lambda: (MemorySource(b""), None)
        hint = None if self.local is None else self.local.hint(request.point, found)
        if number == IN_BASE:
            stored = found.stored
            if stored is None:
                raise IntegrityError(f"the base of point {request.point.key} lacks the file")
            return lambda: (self.bases.file(stored), hint)
        records = reader.records(number)
        return lambda: (reader.opened(records, base_path), hint)


def _make_parents(root: int, folder: bytes, staging: Staging) -> list[bytes]:
    """Make the missing directories of `folder`; return those that this restore has made, outermost first."""
    made = []
    path = b""
    for name in folder.split(b"/") if folder else ():
        with reach(root, path) as above:
            path = path + b"/" + name if path else name
            new = lstat(above, name) is None
            if new:
                staging.making(path)
                os.mkdir(name, 0o700, dir_fd=above)
            if new or staging.made(path):
                made.append(path)
    return made


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)
