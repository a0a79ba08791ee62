"""What this user may do with ZFS, by `zfs allow`; root may do everything.

Rule: the list is that of docs/permissions.md, and so is what happens without each.
"""

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from zdiffsync.config.config import DatasetConfig
from zdiffsync.doctor.finding import Finding, fail, ok, warning
from zdiffsync.errors import ToolMissingError
from zdiffsync.external.zfs_facts import delegated

_DEVICE = Path("/dev/zfs")
_NEEDED = ("snapshot", "userprop", "hold")
_TIDYING = ("release", "destroy", "mount")
_WITHOUT = {
    "diff": "whole trees are compared instead, which takes long",
    "send": "runs are uncertified, and changes that zfs diff does not see are missed",
}
_OF_OWN_SNAPSHOTS = frozenset(("snapshot", "destroy", "mount"))
ALL = (*_NEEDED, *_TIDYING, *_WITHOUT)


def check(wanted: Sequence[DatasetConfig]) -> Iterator[Finding]:
    """Yield a finding a configured dataset."""
    if not wanted:
        return
    if os.geteuid() == 0:
        yield ok("permissions", "root may do everything")
        return
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        yield fail("permissions", f"{_DEVICE} is closed to this user", f"chmod 666 {_DEVICE}   # as root")
        return
    for dataset in wanted:
        try:
            yield _judge(dataset, delegated(dataset.name))
        except ToolMissingError:
            return  # said by doctor.tools


def _judge(dataset: DatasetConfig, given: frozenset[str]) -> Finding:
    without = _OF_OWN_SNAPSHOTS if dataset.globs else frozenset()
    missing = [name for name in ALL if name not in given | without]
    if not missing:
        return ok("permissions", f"{dataset.name}: all that a run needs")
    fix = f"zfs allow $(id -un) {','.join(missing)} {shlex.quote(dataset.name)}   # as root"
    what = f"{dataset.name}: this user lacks {', '.join(missing)}"
    if any(name in _NEEDED for name in missing):
        return fail("permissions", f"{what}; no point can be made", fix)
    if any(name in _TIDYING for name in missing):
        return warning("permissions", f"{what}; old snapshots stay", fix)
    return warning("permissions", f"{what}; {_WITHOUT[missing[0]]}", fix)
