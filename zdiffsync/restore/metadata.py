"""Writing an entry's metadata to a restored file, through its directory's descriptor.

Last step of every restored object. Rule: nothing is followed; owner before mode before ACLs before times,
since each would undo the one after it.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from zdiffsync.model.entry import Entry, EntryType

Warn = Callable[[str], None]
_NO_OWNER = "owners could not be restored; run as root to restore them"


@dataclass(frozen=True, slots=True)
class Newborn:
    """What a file is right after it was made: that need not be set again, file by file."""

    uid: int
    gid: int
    xattrs: bool

    @classmethod
    def observe(cls, directory: int, name: bytes) -> Self:
        """Make an empty file in an open directory, look at it, and remove it."""
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
        try:
            os.unlink(name, dir_fd=directory)
            info = os.fstat(fd)
            try:
                xattrs = bool(os.listxattr(fd))
            except OSError:  # none can be had here; a file that wants some finds out
                xattrs = False
            return cls(info.st_uid, info.st_gid, xattrs)
        finally:
            os.close(fd)


def finish_file(fd: int, entry: Entry, born: Newborn, warn: Warn) -> None:
    """Like `apply_metadata`, for a regular file that was just made and is open for writing."""
    if (entry.uid, entry.gid) != (born.uid, born.gid):
        try:
            os.fchown(fd, entry.uid, entry.gid)
        except PermissionError:
            warn(_NO_OWNER)
    os.fchmod(fd, entry.mode)
    if entry.xattrs or born.xattrs:
        _apply_xattrs(fd, entry, warn)
    os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))


def apply_metadata(directory: int, name: bytes, entry: Entry, warn: Warn) -> None:
    """Make owner, mode, xattrs and mtime of `name` those of `entry`.

    What this user or file system may not do is told to `warn`; other failures raise OSError, also when
    something of another type stands there: somebody has put it there in the meantime.
    """
    # Calls by name could be led elsewhere between one and the next; chmod would even follow a symlink.
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        if EntryType.of_mode(os.fstat(fd).st_mode) is not entry.type:
            raise FileExistsError(errno.EEXIST, "something else has been put in its place")
        path = b"/proc/self/fd/%d" % fd
        try:
            os.chown(path, entry.uid, entry.gid)
        except PermissionError:
            warn(_NO_OWNER)
        if entry.type is not EntryType.SYMLINK:
            os.chmod(path, entry.mode)
        _apply_xattrs(path, entry, warn)
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))
    finally:
        os.close(fd)


def _apply_xattrs(file: bytes | int, entry: Entry, warn: Warn) -> None:
    wanted = dict(entry.xattrs)
    try:
        present = {os.fsencode(key): os.getxattr(file, key) for key in os.listxattr(file)}
        for key in present.keys() - wanted.keys():
            os.removexattr(file, key)
        for key, value in wanted.items():
            if present.get(key) != value:
                os.setxattr(file, key, value)
    except OSError as error:
        if error.errno not in {errno.ENOTSUP, errno.EPERM}:
            raise
        if wanted:
            warn(f"some extended attributes or ACLs could not be restored: {error.strerror}")
