"""A new dataset as the target of a restore.

Before and after the restore flow. Rule: a dataset that exists is never restored over, but for one that
an interrupted restore of the same point made and marked.
"""

import os
from pathlib import Path

from zdiffsync.catalog.catalog import Point
from zdiffsync.errors import UsageError
from zdiffsync.external import zfs

_MARK = "org.zdiffsync:restoring"
# Not every pool has these by default, and without them ACLs and attributes could not be given back.
_PROPERTIES = {"acltype": "posixacl", "xattr": "sa"}
NOWHERE = Path("/dev/null/new")  # stands for the mountpoint of a dataset that is not there yet


def target_of(dataset: str, point: Point) -> Path:
    """Return where `dataset` is mounted if a restore of `point` into it was interrupted, else NOWHERE.

    Raises UsageError when it exists for another reason, ZfsError.
    """
    mark = zfs.read_property(dataset, _MARK)
    if mark is None:
        return NOWHERE
    if mark != point.key:
        raise UsageError(f"{dataset} exists already; name a dataset that does not, it is made")
    return _mountpoint(dataset)


def make(dataset: str, point: Point) -> Path:
    """Make `dataset`, marked as being restored; return its mountpoint. Raises ZfsError."""
    zfs.create(dataset, {**_PROPERTIES, _MARK: point.key})
    return _mountpoint(dataset)


def finish(dataset: str) -> None:
    """Take the mark off a dataset that is complete. Raises ZfsError."""
    zfs.clear_property(dataset, _MARK)


def _mountpoint(dataset: str) -> Path:
    return Path(os.fsdecode(zfs.mountpoint(dataset)))
