"""The restore flow: locate, stage the base part, assemble, clean up.

Rule: the base part is staged inside the target's file system, so that putting it in place is renaming.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from zdiffsync.catalog.catalog import Catalog, Point
from zdiffsync.catalog.view import Node, PointView
from zdiffsync.errors import UsageError
from zdiffsync.external.restic import Restic
from zdiffsync.model.bytesource import ByteSource
from zdiffsync.model.entry import Entry
from zdiffsync.model.progress import ProgressFactory
from zdiffsync.restore.assemble import Assembler, Overwrite, RestoreReport
from zdiffsync.restore.contents import ContentReader
from zdiffsync.restore.metadata import apply_metadata
from zdiffsync.restore.needs import BaseNeeds, Overlay
from zdiffsync.restore.packs import CachedPacks
from zdiffsync.restore.staged import StagedBase
from zdiffsync.store.store import Store


@dataclass(frozen=True, slots=True)
class Restorer:
    """What restores work with: the remote, the catalog, restic, and where progress goes."""

    store: Store
    catalog: Catalog
    restic: Restic
    progress: ProgressFactory

    def restore(
        self, point: Point, path: bytes, target: Path, *, name: bytes | None, overwrite: Overwrite
    ) -> RestoreReport:
        """Restore `path` of `point` into the directory `target` as `name`.

        `name` None fills `target` itself with the content of directory `path`. Raises UsageError when
        the point has no such path; what fails file by file is in the report.
        """
        report = RestoreReport()
        target.mkdir(parents=True, exist_ok=True)
        with self.catalog.view(point) as view, _opened(target) as directory:
            node = view.resolve(path)
            if node is None:
                raise missing(point, path)
            with TemporaryDirectory(prefix=".zdiffsync-restore-", dir=target) as staging:
                entry = self._assemble(
                    point, path, _Work(view, node, Path(staging), directory, name, overwrite, report)
                )
            if entry is not None:
                apply_metadata(directory, b".", entry, report.warn)
        return report

    def _assemble(self, point: Point, path: bytes, work: "_Work") -> Entry | None:
        with ExitStack() as stack:
            packs = stack.enter_context(CachedPacks(self.store.data, work.staging / "packs"))
            base: StagedBase | None = None

            def open_base(base_path: bytes) -> ByteSource:
                assert base is not None, "what deltas read was staged"
                return base.open(base_path)

            reader = ContentReader(work.view, packs.fetch, open_base)
            overlay = Overlay(work.view)
            needs = overlay.needs(work.node, reader)
            if needs.paths:
                self._stage(point, needs, work.staging / "base", work.report)
                base = stack.enter_context(StagedBase(os.fsencode(work.staging / "base"), overlay.touched))
            bar = stack.enter_context(self.progress("writing"))
            assembler = Assembler(
                work.view, base, reader.open, pristine=overlay.pristine, sources=needs.sources,
                overwrite=work.overwrite, report=work.report, progress=bar.advance,
            )  # fmt: skip
            if assembler.entry(work.node) is None:
                raise missing(point, path)
            if work.name is None:
                return assembler.fill(work.node, work.directory)
            assembler.place(work.node, work.directory, work.name)
            return None

    def _stage(self, point: Point, needs: BaseNeeds, folder: Path, report: RestoreReport) -> None:
        folder.mkdir(mode=0o700)
        if point.restic is None:
            return
        includes = None if needs.everything else sorted(needs.paths)
        with self.progress("fetching base") as bar:
            done = self.restic.restore(point.restic, None, folder, includes=includes, progress=bar)
        report.failed += done.failed
        report.damaged |= bool(done.failed)


@dataclass(frozen=True, slots=True)
class _Work:
    """One restore under way."""

    view: PointView
    node: Node
    staging: Path
    directory: int
    name: bytes | None
    overwrite: Overwrite
    report: RestoreReport


def missing(point: Point, path: bytes) -> UsageError:
    """Return the error for a path the point does not have."""
    return UsageError(
        f"point {point.key} of {point.dataset} has no {os.fsdecode(path)!r}; see zdiffsync ls {point.key}"
    )


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)
