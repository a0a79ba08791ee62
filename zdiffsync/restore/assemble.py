"""Building a point's tree: staged base files moved into place, overlay objects written.

Last step of the restore flow. The base part lies in a staging folder on the same file system, so
an unchanged directory of a million files costs one rename.
Rule: works through directory descriptors and never follows a symlink that stands in its way.
"""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum

from zdiffsync.catalog.view import Node, PointView, Version
from zdiffsync.errors import IntegrityError, ObjectMissingError, UsageError, ZdiffsyncError
from zdiffsync.format.manifest import IN_BASE
from zdiffsync.model.bytesource import ByteSource
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.restore.metadata import apply_metadata, proc_path
from zdiffsync.restore.staged import Amount, StagedBase

_BLOCK = 4 << 20
_ZEROS = bytes(_BLOCK)


class Overwrite(StrEnum):
    """What to do with a file that is already there."""

    NEVER = "never"
    CHANGED = "changed"
    ALWAYS = "always"


@dataclass(slots=True)
class RestoreReport:
    """What a restore did. `failed` holds (path, reason) of what could not be given back whole."""

    files: int = 0
    directories: int = 0
    others: int = 0
    bytes_restored: int = 0
    kept: int = 0
    failed: list[tuple[bytes, str]] = field(default_factory=list)
    damaged: bool = False
    warnings: dict[str, int] = field(default_factory=dict)

    def warn(self, text: str) -> None:
        """Count a warning; each is shown once."""
        self.warnings[text] = self.warnings.get(text, 0) + 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object goes: an open directory, the name in it, and its path for messages."""

    directory: int
    name: bytes
    path: bytes


class Assembler:
    """Puts nodes of one point into a target. `base` is the staged part of the base (None: none is needed).

    `pristine` tells whether nothing of the overlay lies at or below a base path; `sources` are base
    paths that deltas still read and that must therefore be copied, not moved.
    """

    def __init__(
        self,
        view: PointView,
        base: StagedBase | None,
        open_content: Callable[[int, bytes | None], ByteSource],
        *,
        pristine: Callable[[bytes], bool],
        sources: frozenset[bytes],
        overwrite: Overwrite,
        report: RestoreReport,
        progress: Callable[[int], None],
    ) -> None:
        self._view, self._base, self._open_content = view, base, open_content
        self._pristine, self._sources, self._overwrite = pristine, sources, overwrite
        self._report, self._progress = report, progress
        self._placed: dict[int, bytes] = {}
        self._root: int | None = None

    def fill(self, node: Node, directory: int) -> Entry:
        """Fill an existing directory with what directory `node` holds; return the metadata it should get."""
        self._root = directory
        entry = self.entry(node)
        assert entry is not None, "the caller checked that the node exists"
        if entry.type is not EntryType.DIRECTORY:
            raise UsageError("not a directory, so it cannot fill one; name the directory to put it in")
        self._fill(node, directory, b"")
        return entry

    def place(self, node: Node, directory: int, name: bytes) -> None:
        """Put `node` as `name` into an open directory."""
        self._root = directory
        self._place(node, Place(directory, name, name))

    def _place(self, node: Node, place: Place) -> None:
        try:
            self._place_unchecked(node, place)
        except (IntegrityError, ObjectMissingError) as error:
            self._report.damaged = True
            self._report.failed.append((place.path, str(error)))
        except (OSError, ZdiffsyncError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            self._report.failed.append((place.path, reason))

    def _place_unchecked(self, node: Node, place: Place) -> None:
        check_name(place.name)
        version = self._view.version(node.object) if node.object is not None else None
        entry = self.entry(node)
        if entry is None:
            return
        there = _lstat(place.directory, place.name)
        if entry.type is EntryType.DIRECTORY:
            self._place_directory(node, place, entry, there)
        elif self._wanted(entry, there):
            self._place_other(node, place, entry, version, there)
        else:
            self._keep(node, place, entry)

    def _keep(self, node: Node, place: Place, entry: Entry) -> None:
        self._report.kept += 1
        if self._overwrite is Overwrite.CHANGED:
            apply_metadata(place.directory, place.name, entry, self._report.warn)
            if node.object is not None:
                self._placed.setdefault(node.object, place.path)

    def _place_directory(self, node: Node, place: Place, entry: Entry, there: os.stat_result | None) -> None:
        self._report.directories += 1
        if there is not None and not stat.S_ISDIR(there.st_mode):
            if self._overwrite is Overwrite.NEVER:
                self._report.kept += 1
                return
            _remove(place, there)
            there = None
        base_path = node.base_path
        if there is None and node.object is None and base_path is not None and self._pristine(base_path):
            assert self._base is not None, "the entry came from there"
            self._count(self._base.amount(base_path))
            self._base.move(base_path, place.directory, place.name)
            return
        if there is None:
            os.mkdir(place.name, 0o700, dir_fd=place.directory)
        with _directory(place) as inside:
            self._fill(node, inside, place.path)
        if there is None or self._overwrite is not Overwrite.NEVER:
            apply_metadata(place.directory, place.name, entry, self._report.warn)

    def _fill(self, node: Node, directory: int, path: bytes) -> None:
        overlay = self._view.names(node)
        names = dict.fromkeys(overlay)
        if self._base is not None and node.base_path is not None:
            names.update(dict.fromkeys(self._base.names(node.base_path)))
        for name in names:
            child = overlay[name] if name in overlay else self._view.child(node, name)
            if child is not None:
                self._place(child, Place(directory, name, path + b"/" + name if path else name))

    def _place_other(
        self, node: Node, place: Place, entry: Entry, version: Version | None, there: os.stat_result | None
    ) -> None:
        if node.object is not None and (first := self._placed.get(node.object)) is not None:
            _remove(place, there)
            self._link(first, place)
            return
        if entry.type is EntryType.FILE:
            self._place_file(node, place, entry, version, there)
            self._report.files += 1
            self._report.bytes_restored += entry.size
            self._progress(entry.size)
        else:
            _remove(place, there)
            self._place_special(node, place, entry, version)
            self._report.others += 1
        if version is not None:
            apply_metadata(place.directory, place.name, entry, self._report.warn)
        if node.object is not None:
            self._placed[node.object] = place.path

    def _link(self, first: bytes, place: Place) -> None:
        assert self._root is not None, "set before anything is placed"
        head, _, name = first.rpartition(b"/")
        with _reach(self._root, head) as directory:
            os.link(name, place.name, src_dir_fd=directory, dst_dir_fd=place.directory, follow_symlinks=False)

    def _place_file(
        self, node: Node, place: Place, entry: Entry, version: Version | None, there: os.stat_result | None
    ) -> None:
        # Renaming replaces a file that is there; it must not go before the new one is whole.
        in_the_way = there if there is not None and stat.S_ISDIR(there.st_mode) else None
        content = IN_BASE if version is None else version.content
        staged = node.base_path if content == IN_BASE else None
        if staged is not None and staged not in self._sources:
            assert self._base is not None, "the base is staged where it is needed"
            _remove(place, in_the_way)
            self._base.move(staged, place.directory, place.name)
            return
        temporary = b".zdiffsync-" + secrets.token_hex(8).encode()
        fd = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=place.directory
        )
        try:
            try:
                if content is not None:
                    self._write(fd, self._open_content(content, node.base_path), entry)
            finally:
                os.close(fd)
            if version is None:
                apply_metadata(place.directory, temporary, entry, self._report.warn)
            _remove(place, in_the_way)
            os.rename(temporary, place.name, src_dir_fd=place.directory, dst_dir_fd=place.directory)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=place.directory)
            raise

    def _write(self, fd: int, source: ByteSource, entry: Entry) -> None:
        if source.size != entry.size:
            raise IntegrityError(f"stored content has {source.size} bytes, the file had {entry.size}")
        for at in range(0, source.size, _BLOCK):
            data = source.read(at, min(_BLOCK, source.size - at))
            if data != _ZEROS[: len(data)]:
                os.pwrite(fd, data, at)
        os.ftruncate(fd, entry.size)

    def _place_special(self, node: Node, place: Place, entry: Entry, version: Version | None) -> None:
        if version is None and self._base is not None and node.base_path is not None:
            self._base.move(node.base_path, place.directory, place.name)
        elif entry.type is EntryType.SYMLINK:
            assert entry.target is not None, "a symlink's entry has a target"
            os.symlink(entry.target, place.name, dir_fd=place.directory)
        else:
            os.mknod(place.name, entry.type.format_bits | 0o600, entry.rdev, dir_fd=place.directory)

    def entry(self, node: Node) -> Entry | None:
        """Return the metadata of `node`, None when neither overlay nor base has it."""
        if node.object is not None and (version := self._view.version(node.object)) is not None:
            return version.entry
        return None if self._base is None or node.base_path is None else self._base.entry(node.base_path)

    def _count(self, amount: Amount) -> None:
        self._report.files += amount.files
        self._report.directories += amount.directories
        self._report.others += amount.others
        self._report.bytes_restored += amount.size
        self._progress(amount.size)

    def _wanted(self, entry: Entry, there: os.stat_result | None) -> bool:
        if there is None or self._overwrite is Overwrite.ALWAYS:
            return True
        if self._overwrite is Overwrite.NEVER:
            return False
        same_kind = EntryType.of_mode(there.st_mode) is entry.type
        same_size = entry.type is not EntryType.FILE or there.st_size == entry.size
        return not (same_kind and same_size and there.st_mtime_ns == entry.mtime_ns)


def check_name(name: bytes) -> None:
    """Refuse a name that would lead out of its directory. Raises IntegrityError."""
    if name in {b"", b".", b".."} or b"/" in name or b"\0" in name:
        raise IntegrityError(f"refusing to restore a file named {name!r}")


def _lstat(directory: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _remove(place: Place, there: os.stat_result | None) -> None:
    if there is None:
        return
    if stat.S_ISDIR(there.st_mode):
        shutil.rmtree(proc_path(place.directory, place.name))
    else:
        os.unlink(place.name, dir_fd=place.directory)


@contextmanager
def _directory(place: Place) -> Iterator[int]:
    fd = os.open(place.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place.directory)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _reach(root: int, path: bytes) -> Iterator[int]:
    """Open the directory `path` below `root` step by step, so that no length and no symlink matters."""
    fd = os.dup(root)
    try:
        for name in path.split(b"/") if path else ():
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)
