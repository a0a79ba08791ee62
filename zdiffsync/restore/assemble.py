"""Building a point's tree in a target: directories here, files by several threads beside it.

Last step of the restore flow. Files are made in the staging folder, which lies on the same file system,
and renamed into place when they are whole.
Rule: works through directory descriptors and never follows a symlink that stands in its way.
"""

import errno
import os
import shutil
import stat
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Self

from zdiffsync.errors import IntegrityError, ObjectMissingError, RemoteError, ZdiffsyncError
from zdiffsync.format.manifest import IN_BASE
from zdiffsync.model.bytesource import ByteSource, Hint
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.restore.bulk import StagedBase
from zdiffsync.restore.folders import Folder, check_name, open_folder, reach
from zdiffsync.restore.metadata import apply_metadata, finish_file
from zdiffsync.restore.overwrite import Overwrite
from zdiffsync.restore.report import RestoreReport
from zdiffsync.restore.staging import Staging
from zdiffsync.restore.tree import Found
from zdiffsync.restore.walk import Entered, Walk, name_in
from zdiffsync.restore.write import large, lasting_name, write_file

_WAITING = 4  # batches a thread may have before it
_BATCH = 32  # files; handing over each alone would take as long as writing it
_SMALL = 256 << 10  # bytes; larger files are handed over alone
_FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}

Opened = tuple[ByteSource, Hint | None]
OpenFile = Callable[[Found], Callable[[], Opened]]
_Job = tuple[Folder, bytes, Callable[[], None]]


class Assembler:
    """Puts what `walk` finds into the open directory `root`. A context manager: leaving it waits for all.

    `open_file` looks a file up and returns what opens it, from any thread; what lies in `staged` is moved
    from there instead. What fails file by file is in `report`; a remote that is gone or a target that is full
    raises RemoteError or OSError.
    """

    def __init__(
        self,
        walk: Walk,
        open_file: OpenFile,
        staging: Staging,
        staged: StagedBase | None,
        root: int,
        *,
        overwrite: Overwrite,
        report: RestoreReport,
        progress: Callable[[int], None],
        threads: int,
    ) -> None:
        self._walk, self._open_file, self._root = walk, open_file, root
        self._staging, self._staged = staging, staged
        self._overwrite, self._report, self._progress = overwrite, report, progress
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="restore")
        self._room = BoundedSemaphore(threads * _WAITING)
        self._placed: dict[int, tuple[bytes, Future[None] | None]] = {}
        self._fatal: list[Exception] = []
        self._shared: set[bytes] = set()  # paths of files that have more names
        self._broken: dict[bytes, Exception] = {}  # of these
        self._todo: list[tuple[Found, Folder, bytes]] = []
        self._batch: list[_Job] = []
        self._entered = Entered()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        for folder, _path, _work in self._batch:  # only an error leaves some
            folder.drop()
        self._pool.shutdown(cancel_futures=kind is not None)
        for _found, folder, _name in self._todo:
            folder.drop()
        if kind is None:
            self._stop_if_fatal()

    def fill(self, found: Found) -> None:
        """Fill the target itself with what directory `found` holds; its own metadata are the caller's."""
        self._entered = Entered()
        with Folder(os.dup(self._root), b"", lambda _fd: None) as folder:
            self._enter(found, folder, empty=False)
        self._run()

    def place(self, found: Found, folder: bytes, name: bytes) -> None:
        """Put `found` as `name` into the directory `folder` of the target."""
        self._entered = Entered()
        with reach(self._root, folder) as directory:
            opened = Folder(os.dup(directory), folder, lambda _fd: None)
        with opened:
            self._place(found, opened, name, empty=False)
        self._run()

    def _run(self) -> None:
        while self._todo:
            found, folder, name = self._todo.pop()
            with folder:
                path = folder.inside(name)
                self._guarded(path, lambda: self._directory(found, folder, name, path))  # noqa: B023 - called here
        self._hand_over()

    def _enter(self, found: Found, folder: Folder, *, empty: bool) -> None:
        """Place all of a directory; its subdirectories come later, or a wide tree would hold it all open.

        `empty`: there is nothing yet where it goes.
        """
        self._entered.add(found)
        for child in self._walk.children(found):
            self._place(child, folder, name_in(found, child), empty=empty)
        self._stop_if_fatal()

    def _place(self, found: Found, folder: Folder, name: bytes, *, empty: bool) -> None:
        path = folder.inside(name)
        self._guarded(path, lambda: self._place_unchecked(found, folder, name, path, empty=empty))

    def _place_unchecked(
        self, found: Found, folder: Folder, name: bytes, path: bytes, *, empty: bool
    ) -> None:
        check_name(name)
        if found.entry.type is EntryType.DIRECTORY:
            self._todo.append((found, folder.hold(), name))
            return
        there = None if empty else lstat(folder.descriptor, name)
        placed = self._staging.was_placed(path, there)
        if placed or not self._overwrite.replaces(found.entry, there):
            self._keep(found, folder, name, path, ours=placed or self._overwrite is not Overwrite.NEVER)
            return
        first = self._placed.get(found.inode) if found.links > 1 else None
        if first is not None:
            self._add(folder, path, lambda: self._link(*first, folder, name))
            return
        if self._take(found, folder, name, path):
            return
        if found.links > 1:
            self._shared.add(path)
        if found.entry.type is EntryType.FILE:
            opening = self._open_file(found)
            self._add(folder, path, lambda: self._file(found, opening, folder, name, path))
        else:
            self._add(folder, path, lambda: self._special(found, folder, name, path))
        if found.links > 1:
            self._placed[found.inode] = path, self._hand_over()
        elif found.entry.size > _SMALL:
            self._hand_over()

    def _take(self, found: Found, folder: Folder, name: bytes, path: bytes) -> bool:
        """Move a file of the base into place where restic has brought it; whether it had."""
        base_path, entry = found.node.base_path, found.entry
        if self._staged is None or found.content != IN_BASE or base_path is None:
            return False
        where = self._staged.reach(base_path)
        if where is None:
            return False
        try:
            if found.stored is None or found.stored.entry != entry or not self._staged.exact:
                apply_metadata(*where, entry, self._report.warn)
            self._note(found, path, *where)
            self._into_place(where[1], folder, name, source=where[0])
        except FileNotFoundError:
            return False
        if found.links > 1:
            self._placed[found.inode] = path, None
        self._done(found)
        self._count(entry.size)
        return True

    def _note(self, found: Found, path: bytes, directory: int, made: bytes) -> None:
        """Note which file comes to `path`, where the next attempt could not tell it from another's."""
        if self._overwrite is Overwrite.ALWAYS or found.links > 1:
            self._staging.placing(path, os.stat(made, dir_fd=directory, follow_symlinks=False))

    def _done(self, found: Found) -> None:
        with self._report.lock:
            self._report.files += 1
            self._report.bytes_restored += found.entry.size

    def _keep(self, found: Found, folder: Folder, name: bytes, path: bytes, *, ours: bool) -> None:
        self._report.kept += 1
        if self._overwrite is Overwrite.CHANGED:
            apply_metadata(folder.descriptor, name, found.entry, self._report.warn)
        if ours and found.links > 1:
            self._placed.setdefault(found.inode, (path, None))

    def _directory(self, found: Found, above: Folder, name: bytes, path: bytes) -> None:
        there = lstat(above.descriptor, name)
        if there is not None and not stat.S_ISDIR(there.st_mode):
            if self._overwrite is Overwrite.NEVER:
                self._report.kept += 1
                return
            os.unlink(name, dir_fd=above.descriptor)
            there = None
        self._report.directories += 1
        ours = there is None or self._staging.made(path) or self._overwrite is not Overwrite.NEVER
        ours = ours or (there is not None and _as_stored(there, found.entry))
        if there is None:
            self._staging.making(path)
            os.mkdir(name, 0o700, dir_fd=above.descriptor)
        descriptor = open_folder(above.descriptor, name)
        with Folder(descriptor, path, self._finish(path, found.entry if ours else None)) as folder:
            self._enter(found, folder, empty=there is None)

    def _finish(self, path: bytes, entry: Entry | None) -> Callable[[int], None]:
        def finish(descriptor: int) -> None:
            if entry is not None:
                self._guarded(path, lambda: apply_metadata(descriptor, b".", entry, self._report.warn))

        return finish

    def _file(
        self, found: Found, opening: Callable[[], Opened], folder: Folder, name: bytes, path: bytes
    ) -> None:
        entry = found.entry
        made = lasting_name(path, entry) if large(entry) else self._staging.fresh()
        source, hint = opening()
        write_file(
            self._staging.new, made, source, hint, entry, progress=self._count,
            finish=lambda fd: finish_file(fd, entry, self._staging.born, self._report.warn),
        )  # fmt: skip
        self._note(found, path, self._staging.new, made)
        self._into_place(made, folder, name)
        self._done(found)
        if hint is not None:
            with self._report.lock:
                self._report.local += max(0, entry.size - hint.tally.missed)
                self._report.refused += hint.tally.refused

    def _special(self, found: Found, folder: Folder, name: bytes, path: bytes) -> None:
        made, entry = self._staging.fresh(), found.entry
        if entry.type is EntryType.SYMLINK:
            assert entry.target is not None, "a symlink's entry has a target"
            os.symlink(entry.target, made, dir_fd=self._staging.new)
        else:
            os.mknod(made, entry.type.format_bits | 0o600, entry.rdev, dir_fd=self._staging.new)
        apply_metadata(self._staging.new, made, entry, self._report.warn)
        self._note(found, path, self._staging.new, made)
        self._into_place(made, folder, name)
        with self._report.lock:
            self._report.others += 1

    def _link(self, first: bytes, done: Future[None] | None, folder: Folder, name: bytes) -> None:
        if done is not None:
            done.result()
        if first in self._broken:
            raise self._broken[first]
        made = self._staging.fresh()
        head, _, last = first.rpartition(b"/")
        with reach(self._root, head) as directory:
            os.link(last, made, src_dir_fd=directory, dst_dir_fd=self._staging.new, follow_symlinks=False)
        self._into_place(made, folder, name)

    def _into_place(self, made: bytes, folder: Folder, name: bytes, source: int | None = None) -> None:
        """Rename a finished file of the directory `source` (where files are made); what is there goes."""
        directory = self._staging.new if source is None else source
        try:
            os.rename(made, name, src_dir_fd=directory, dst_dir_fd=folder.descriptor)
        except IsADirectoryError:
            shutil.rmtree(name, dir_fd=folder.descriptor)
            os.rename(made, name, src_dir_fd=directory, dst_dir_fd=folder.descriptor)

    def _count(self, done: int) -> None:
        with self._report.lock:
            self._progress(done)

    def _add(self, folder: Folder, path: bytes, work: Callable[[], None]) -> None:
        self._batch.append((folder.hold(), path, work))
        if len(self._batch) >= _BATCH:
            self._hand_over()

    def _hand_over(self) -> "Future[None] | None":
        """Give what has gathered to a thread; return its future, None when there is nothing."""
        if not self._batch:
            return None
        self._stop_if_fatal()
        self._room.acquire()
        batch, self._batch = self._batch, []
        future = self._pool.submit(self._work, batch)

        def finished(_future: "Future[None]") -> None:
            self._room.release()
            for folder, _path, _work in batch:
                folder.drop()

        future.add_done_callback(finished)
        return future

    def _work(self, batch: list[_Job]) -> None:
        for _folder, path, work in batch:
            if self._fatal:
                return
            try:
                work()
            except Exception as error:  # noqa: BLE001 - a bug, too, must be told
                if path in self._shared:
                    self._broken[path] = error
                self._failed(path, error)

    def _guarded(self, path: bytes, work: Callable[[], None]) -> None:
        try:
            work()
        except (OSError, ZdiffsyncError) as error:
            self._failed(path, error)

    def _failed(self, path: bytes, error: Exception) -> None:
        damaged = isinstance(error, IntegrityError | ObjectMissingError)
        if isinstance(error, RemoteError) and not damaged:
            self._fatal.append(error)
        elif isinstance(error, OSError):
            if error.errno in _FATAL:
                self._fatal.append(error)
            else:
                self._report.fail(path, error.strerror or str(error), damaged=False)
        elif isinstance(error, ZdiffsyncError):
            self._report.fail(path, str(error), damaged=damaged)
        else:  # a bug; it must not look like a file that failed
            self._fatal.append(error)

    def _stop_if_fatal(self) -> None:
        if self._fatal:
            raise self._fatal[0]


def _as_stored(there: os.stat_result, entry: Entry) -> bool:
    """Whether a directory looks as the point has it: then it shall, too, when what it lacks has come."""
    looks = stat.S_IMODE(there.st_mode), there.st_uid, there.st_gid, there.st_mtime_ns
    return looks == (entry.mode, entry.uid, entry.gid, entry.mtime_ns)


def lstat(directory: int, name: bytes) -> os.stat_result | None:
    """Stat `name` in an open directory, following nothing; None when it is not there."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
