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
from zdiffsync.external.files import FileSource
from zdiffsync.external.restic import Restic
from zdiffsync.external.tree import SnapshotTree
from zdiffsync.model.bytesource import ByteSource
from zdiffsync.model.progress import ProgressFactory
from zdiffsync.restore.assemble import Assembler, Overwrite, RestoreReport
from zdiffsync.restore.contents import ContentReader
from zdiffsync.restore.needs import BaseNeeds, Overlay
from zdiffsync.restore.packs import CachedPacks
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
        with ExitStack() as stack:
            view = stack.enter_context(self.catalog.view(point))
            node = view.resolve(path)
            if node is None:
                raise missing(point, path)
            staging = Path(stack.enter_context(TemporaryDirectory(prefix=".zdiffsync-restore-", dir=target)))
            packs = stack.enter_context(CachedPacks(self.store.data, staging / "packs"))
            base_files = _BaseFiles(staging / "base")
            stack.callback(base_files.close)
            reader = ContentReader(view, packs.fetch, base_files.open)
            overlay = Overlay(view)
            needs = overlay.needs(node, reader)
            base = self._stage(point, needs, staging / "base", stack)
            if not _exists(view, node, base):
                raise missing(point, path)
            bar = stack.enter_context(self.progress("writing"))
            assembler = Assembler(
                view, base, reader.open, pristine=overlay.pristine, sources=needs.sources,
                overwrite=overwrite, report=report, progress=bar.advance,
            )  # fmt: skip
            with _opened(target) as directory:
                if name is None:
                    assembler.place_root(node, directory)
                else:
                    assembler.place(node, directory, name)
        return report

    def _stage(self, point: Point, needs: BaseNeeds, folder: Path, stack: ExitStack) -> SnapshotTree | None:
        if not needs.paths:
            return None
        folder.mkdir(mode=0o700)
        includes = None if needs.everything else sorted(needs.paths)
        with self.progress("fetching base") as bar:
            self.restic.restore(point.restic, None, folder, includes=includes, progress=bar)
        return stack.enter_context(SnapshotTree(os.fsencode(folder)))


class _BaseFiles:
    """Staged base files opened as the old side of deltas."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.fsencode(folder)
        self._open: dict[bytes, int] = {}

    def open(self, path: bytes) -> ByteSource:
        if path not in self._open:
            with SnapshotTree(self._folder) as tree, tree.opened(path) as fd:
                self._open[path] = os.dup(fd)
        return FileSource(self._open[path])

    def close(self) -> None:
        for fd in self._open.values():
            os.close(fd)


def missing(point: Point, path: bytes) -> UsageError:
    """Return the error for a path the point does not have."""
    return UsageError(
        f"point {point.key} of {point.dataset} has no {os.fsdecode(path)!r}; see zdiffsync ls {point.key}"
    )


def _exists(view: PointView, node: Node, base: SnapshotTree | None) -> bool:
    if node.object is not None and view.version(node.object) is not None:
        return True
    return base is not None and node.base_path is not None and base.lstat(node.base_path) is not None


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)
