"""Items as the kernel wants them: attributes with the time it may keep them.

Rule: everything comes from the snapshot; what it does not record (ctime, atime) is the mtime.
"""

from pyfuse3 import EntryAttributes

from zdiffsync.mount.items import Item

_LASTING = 86_400.0  # seconds; a point never changes
_PASSING = 1.0  # seconds; points come and go
_BLOCK_SIZE = 128 << 10  # what programs should read at a time


def attributes(item: Item, *, lasting: bool) -> EntryAttributes:
    """Return the attributes of an item; `lasting`: of one that stands in a point."""
    entry = item.entry
    found = EntryAttributes()
    found.st_ino = item.inode
    found.entry_timeout = found.attr_timeout = _LASTING if lasting else _PASSING
    found.st_mode = entry.type.format_bits | entry.mode
    found.st_nlink = item.links
    found.st_uid, found.st_gid = entry.uid, entry.gid
    found.st_rdev = entry.rdev
    found.st_size = entry.size if entry.target is None else len(entry.target)
    found.st_blksize, found.st_blocks = _BLOCK_SIZE, item.blocks
    found.st_mtime_ns = found.st_ctime_ns = found.st_atime_ns = entry.mtime_ns
    return found


def nothing(*, lasting: bool) -> EntryAttributes:
    """Return what tells the kernel that there is no such name, so that it may remember that, too."""
    found = EntryAttributes()
    found.st_ino = 0
    found.entry_timeout = _LASTING if lasting else _PASSING
    return found
