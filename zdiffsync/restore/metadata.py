"""Writing an entry's metadata to a restored file, through its directory's descriptor.

Last step of every restored object. Rule: nothing is followed; owner before mode before ACLs before times,
since each would undo the one after it.
"""

import errno
import os
from collections.abc import Callable

from zdiffsync.model.entry import Entry, EntryType

Warn = Callable[[str], None]


def proc_path(directory: int, name: bytes) -> bytes:
    """Return a short path that names `name` in an open directory, for calls without *at forms."""
    return b"/proc/self/fd/%d/%s" % (directory, name)


def apply_metadata(directory: int, name: bytes, entry: Entry, warn: Warn) -> None:
    """Make owner, mode, xattrs and mtime of `name` those of `entry`.

    What this user or file system may not do is told to `warn`; other failures raise OSError.
    """
    try:
        os.chown(name, entry.uid, entry.gid, dir_fd=directory, follow_symlinks=False)
    except PermissionError:
        warn("owners could not be restored; run as root to restore them")
    path = proc_path(directory, name)
    if entry.type is not EntryType.SYMLINK:
        os.chmod(path, entry.mode)
    _apply_xattrs(path, entry, warn)
    os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=directory, follow_symlinks=False)


def _apply_xattrs(path: bytes, entry: Entry, warn: Warn) -> None:
    wanted = dict(entry.xattrs)
    try:
        present = {
            os.fsencode(key): os.getxattr(path, key, follow_symlinks=False)
            for key in os.listxattr(path, follow_symlinks=False)
        }
        for key in present.keys() - wanted.keys():
            os.removexattr(path, key, follow_symlinks=False)
        for key, value in wanted.items():
            if present.get(key) != value:
                os.setxattr(path, key, value, follow_symlinks=False)
    except OSError as error:
        if error.errno not in {errno.ENOTSUP, errno.EPERM}:
            raise
        if wanted:
            warn(f"some extended attributes or ACLs could not be restored: {error.strerror}")
