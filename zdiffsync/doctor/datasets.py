"""The configured datasets: there, mounted, with keys; and a trial of all that a run does with ZFS.

Two snapshots are taken, held, entered, compared by `zfs diff` and `zfs send`, and destroyed again.
Rule: of a trial nothing stays: it is made only by who may destroy, and the next one removes what a killed
one has left.
"""

import os
import secrets
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from time import monotonic

from zdiffsync.config.config import DatasetConfig
from zdiffsync.doctor.finding import Finding, fail, ok, warning
from zdiffsync.doctor.permissions import ALL
from zdiffsync.errors import NoSuchDatasetError, ToolMissingError, ZdiffsyncError
from zdiffsync.external import zfs
from zdiffsync.external.zfs_diff import diff
from zdiffsync.external.zfs_facts import delegated
from zdiffsync.external.zfs_send import incremental_stream

_OWNER = "doctor"  # no repository's id, so no run takes a trial's snapshot for its own
_TAG = "zdiffsync-doctor"
_CHUNK = 1 << 16


def check(wanted: Sequence[DatasetConfig]) -> Iterator[Finding]:
    """Yield what is found of each configured dataset and those below it."""
    for item in wanted:
        try:
            found = zfs.datasets(item.name, recursive=item.recursive)
        except NoSuchDatasetError:
            pool = item.name.partition("/")[0]
            fix = f"zpool import {shlex.quote(pool)}   # or correct its name in the configuration"
            yield fail("dataset", f"{item.name} does not exist", fix)
            continue
        except ToolMissingError:
            return  # said by doctor.tools
        covered = []
        for dataset in found:
            if (reason := dataset.uncovered_reason) is None:
                covered.append(dataset)
            else:
                yield _uncovered(dataset, reason, alone=not item.recursive)
        for dataset in covered:
            yield _tried(dataset, takes=not item.globs)


def _uncovered(dataset: zfs.Dataset, reason: str, *, alone: bool) -> Finding:
    what, _, command = f"{dataset.name} {reason}".partition("; run ")
    make = fail if alone else warning
    return make("dataset", f"{what}: not covered", command or None)


def _tried(dataset: zfs.Dataset, *, takes: bool) -> Finding:
    """Try a dataset; `takes`: runs take snapshots of their own, for which permissions are needed."""
    name = dataset.name
    if os.geteuid() != 0 and not set(ALL) <= delegated(name):
        make, why = (warning, "permissions are missing") if takes else (ok, "this user takes no snapshots")
        return make("dataset", f"{name} is there and mounted; not tried, since {why}")
    started = monotonic()
    problem = ""
    try:
        _clean(name)
        problem = _trial(dataset)
    except (ZdiffsyncError, OSError) as error:
        return fail("dataset", f"{name}: {error}")
    finally:
        with suppress(ZdiffsyncError):
            _clean(name)
    if problem:
        return warning("dataset", f"{name}: {problem}")
    took = f"{monotonic() - started:.1f} s"
    return ok("dataset", f"{name}: snapshot, hold, .zfs/snapshot, diff, send, destroy work ({took})")


def _trial(dataset: zfs.Dataset) -> str:
    """Return what works in a worse way only. Raises ZdiffsyncError, OSError for what does not work."""
    names = []
    for turn in "ab":
        label = f"zdiffsync-doctor-{secrets.token_hex(4)}{turn}"
        zfs.take_snapshots([dataset.name], label, owner=_OWNER)
        names.append(f"{dataset.name}@{label}")
        zfs.hold(_TAG, names[-1])
        os.listdir(zfs.snapshot_directory(dataset.name, label))
    old, new = names
    found = diff(old, new, zfs.mountpoint(dataset.name))
    if found.problem is not None:
        return f"whole trees will be compared: {found.problem}"
    with incremental_stream(old, new) as stream:
        while stream.read(_CHUNK):
            pass
    return ""


def _clean(name: str) -> None:
    for snapshot in zfs.snapshots(name):
        if snapshot.owner == _OWNER:
            zfs.release(_TAG, snapshot.name)
            zfs.destroy(snapshot, owner=_OWNER)
