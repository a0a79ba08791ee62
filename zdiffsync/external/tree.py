"""A snapshot's file tree, read through one open directory descriptor.

Used by reconcile, the base walk and the packer. The descriptor keeps the snapshot mounted (idle
`.zfs/snapshot` mounts go away) and paths beyond PATH_MAX are reached in steps.
Rule: reads only, follows no symlink, speaks relative `bytes` paths (b'' is the root).
"""

import ctypes
import errno
import os
import stat
import struct
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

from zdiffsync.errors import ZfsError
from zdiffsync.model.entry import Entry, EntryType

_STEP = 3500  # bytes; well below PATH_MAX with the /proc prefix in front
_HANDLE_BYTES = 128
_NUMBER = (1 << 64) - 1
_KEPT_OPEN = 16  # far more than are in use at one time
_OPENAT2 = 437  # the same on every architecture
_RESOLVE_NO_SYMLINKS = 0x04
_FILEID_INO32_GEN = 1  # what ZFS calls its handles
_libc = ctypes.CDLL(None, use_errno=True)
_HANDLE_SIZE = struct.Struct("I")
_FID = struct.Struct("<HIHI")  # length of what follows, 6 bytes object, 4 bytes generation
_FID_LENGTH = _FID.size - 2
_EMPTY_HANDLE = struct.pack("Ii", _HANDLE_BYTES, 0) + bytes(_HANDLE_BYTES)
_Handle = ctypes.c_char * len(_EMPTY_HANDLE)
_MOUNT_ID = ctypes.byref(ctypes.c_int())  # the system fills it in; nobody wants to know


class Identity(int):
    """What makes an object itself: its number and the generation that tells reuse apart.

    Both in one integer: a run that finds a million changes holds some millions of these.
    """

    __slots__ = ()

    def __new__(cls, number: int, generation: int) -> Self:
        """Put both together; `number` has up to 64 bits."""
        return int.__new__(cls, generation << 64 | number)

    @property
    def number(self) -> int:
        """The object number, st_ino."""
        return self & _NUMBER

    @property
    def generation(self) -> int:
        """The generation."""
        return self >> 64

    def __repr__(self) -> str:
        return f"Identity({self.number}, {self.generation})"


@dataclass(frozen=True, slots=True)
class Listed:
    """One name in a directory, as `readdir` tells it, without a stat."""

    name: bytes
    number: int
    directory: bool


class SnapshotTree:
    """The tree of one mounted snapshot. A context manager; raises ZfsError when it cannot be opened."""

    def __init__(self, root: bytes) -> None:
        self.root = root
        self._opened: OrderedDict[bytes, int] = OrderedDict()
        self._absent: bytes | None = None
        try:
            self._fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise ZfsError(
                f"cannot open the snapshot at {os.fsdecode(root)}: {error.strerror}; "
                "check that the dataset is mounted and .zfs/snapshot can be read"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        for fd in (self._fd, *self._opened.values()):
            os.close(fd)

    @property
    def descriptor(self) -> int:
        """The open root directory."""
        return self._fd

    def _reach(self, path: bytes) -> tuple[int, bytes]:
        """Return (directory descriptor, short path) that names `path`; good until the next call."""
        head, _, name = path.rpartition(b"/")
        return self._directory(head) if head else self._fd, name or b"."

    def _directory(self, path: bytes) -> int:
        """Return an open descriptor of a directory; the last few stay open, for paths come in clusters."""
        if not path:
            return self._fd
        if (fd := self._opened.get(path)) is not None:
            self._opened.move_to_end(path)
            return fd
        if path == self._absent:
            raise FileNotFoundError(path)
        steps: list[int] = []
        rest = path
        try:
            while rest:
                cut = len(rest) if len(rest) <= _STEP else rest.rindex(b"/", 0, _STEP)
                steps.append(_open_directory(steps[-1] if steps else self._fd, rest[:cut]))
                rest = rest[cut + 1 :]
            self._opened[path] = steps.pop()
        except FileNotFoundError:
            self._absent = path  # of a new directory each file is looked for in the old tree
            raise
        finally:
            for fd in steps:
                os.close(fd)
        if len(self._opened) > _KEPT_OPEN:
            os.close(self._opened.popitem(last=False)[1])
        return self._opened[path]

    def lstat(self, path: bytes) -> os.stat_result | None:
        """Stat `path` itself; None when it is not there."""
        try:
            fd, short = self._reach(path)
            return os.stat(short, dir_fd=fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def identity(self, path: bytes) -> Identity | None:
        """Return object number and generation of `path`, or None when it is not there.

        One `name_to_handle_at` call; the handle of ZFS is a short fid of 6 bytes object number and
        4 bytes generation (zfs_vnops_os.c). Other file systems fall back to (st_ino, 0).
        """
        try:
            return _identity(*self._reach(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def path_of(self, directory: Identity) -> bytes | None:
        """Return where a directory lies, without a search; None where the kernel cannot tell.

        It opens directories by their handle, for those with CAP_DAC_READ_SEARCH, and knows their parents
        (open_by_handle_at(2)); files it could open, too, but not name.
        """
        fd = _open_by_identity(self._fd, directory)
        if fd is None:
            return None
        try:
            place, top = (os.readlink(b"/proc/self/fd/%d" % each) for each in (fd, self._fd))
        except OSError:  # longer than the kernel can say
            return None
        finally:
            os.close(fd)
        path = place.removeprefix(top).removeprefix(b"/")
        return path if place.startswith(top) and self.identity(path) == directory else None

    def names(self, path: bytes) -> Iterator[Listed]:
        """List a directory; nothing when it is not there. `.zfs` shows up nowhere."""
        with (
            suppress(FileNotFoundError, NotADirectoryError),
            self.opened(path, os.O_DIRECTORY) as fd,
            os.scandir(fd) as entries,
        ):
            for entry in entries:
                yield Listed(os.fsencode(entry.name), entry.inode(), entry.is_dir(follow_symlinks=False))

    @contextmanager
    def opened(self, path: bytes, flags: int = 0) -> Iterator[int]:
        """Open `path` for reading and give its descriptor."""
        base, short = self._reach(path)
        fd = os.open(short, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | flags, dir_fd=base)
        try:
            yield fd
        finally:
            os.close(fd)

    def entry(self, path: bytes, known: os.stat_result | None = None) -> Entry:
        """Read everything a restore must reproduce. Raises OSError when it cannot be read."""
        base, short = self._reach(path)
        info = known or os.stat(short, dir_fd=base, follow_symlinks=False)
        kind = EntryType.of_mode(info.st_mode)
        name = b"/proc/self/fd/%d/%s" % (base, short)
        return Entry(
            type=kind,
            mode=stat.S_IMODE(info.st_mode),
            uid=info.st_uid,
            gid=info.st_gid,
            mtime_ns=info.st_mtime_ns,
            size=info.st_size if kind is EntryType.FILE else 0,
            rdev=info.st_rdev if kind in {EntryType.CHARACTER, EntryType.BLOCK} else 0,
            target=os.readlink(short, dir_fd=base) if kind is EntryType.SYMLINK else None,
            xattrs=_xattrs(name),
        )

    def walk(self, top: bytes = b"") -> Iterator[tuple[bytes, Listed]]:
        """Yield (path, listed) of everything below `top`, each directory before its content.

        Unreadable directories raise OSError. Uses no recursion and keeps one listing a level.
        """
        stack = [(top, self.names(top))]
        while stack:
            directory, names = stack[-1]
            for item in names:
                path = directory + b"/" + item.name if directory else item.name
                yield path, item
                if item.directory:
                    stack.append((path, self.names(path)))
                    break
            else:
                stack.pop()


def same_times(before: os.stat_result, now: os.stat_result) -> bool:
    """Whether neither ctime nor mtime shows a change.

    ctime alone is not enough: its clock ticks in milliseconds, and a change on either side of a snapshot can
    fall into one tick.
    """
    return (before.st_ctime_ns, before.st_mtime_ns) == (now.st_ctime_ns, now.st_mtime_ns)


def _open_directory(base: int, path: bytes) -> int:
    """Open a directory below `base` with openat2, which, unlike open, follows no symlink on the way.

    Raises NotADirectoryError where one stands in the way: what is behind it has another path.
    """
    # Without O_NOFOLLOW the kernel's protected_symlinks may refuse a last symlink before we can.
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    how = struct.pack("QQQ", flags, 0, _RESOLVE_NO_SYMLINKS)
    fd: int = _libc.syscall(ctypes.c_long(_OPENAT2), base, path, how, ctypes.c_size_t(len(how)))
    if fd >= 0:
        return fd
    code = errno.ENOTDIR if ctypes.get_errno() == errno.ELOOP else ctypes.get_errno()
    raise OSError(code, os.strerror(code), path)


def _xattrs(name: bytes) -> tuple[tuple[bytes, bytes], ...]:
    try:
        keys = os.listxattr(name, follow_symlinks=False)
    except OSError as error:
        if error.errno in {errno.ENOTSUP, errno.EPERM}:
            return ()
        raise
    return tuple(sorted((os.fsencode(key), os.getxattr(name, key, follow_symlinks=False)) for key in keys))


def _open_by_identity(mount: int, identity: Identity) -> int | None:
    low, high = identity.number & 0xFFFFFFFF, identity.number >> 32
    fid = _FID.pack(_FID_LENGTH, low, high, identity.generation)
    handle = struct.pack("Ii", len(fid), _FILEID_INO32_GEN) + fid
    fd: int = _libc.open_by_handle_at(mount, handle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return None if fd < 0 else fd


def _identity(fd: int, path: bytes) -> Identity:
    handle = _Handle.from_buffer_copy(_EMPTY_HANDLE)
    if _libc.name_to_handle_at(fd, path, handle, _MOUNT_ID, 0) == 0:
        (size,) = _HANDLE_SIZE.unpack_from(handle)
        if size >= _FID.size:
            _, low, high, generation = _FID.unpack_from(handle, len(_EMPTY_HANDLE) - _HANDLE_BYTES)
            return Identity(low | high << 32, generation)
    elif (code := ctypes.get_errno()) not in {errno.EOPNOTSUPP, errno.ENOSYS, errno.EOVERFLOW}:
        raise OSError(code, os.strerror(code), path)
    return Identity(os.stat(path, dir_fd=fd, follow_symlinks=False).st_ino, 0)
