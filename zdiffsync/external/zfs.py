"""The door to `zfs`: datasets, snapshots, holds. Its stderr becomes typed errors here, nowhere else.

First and last step of the nightly flow (snapshot and hold; release and destroy); also where a restore makes
a dataset of its own.
Rule: only snapshots that carry our own property are ever destroyed.
"""

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zdiffsync.errors import NoSuchDatasetError, ToolError, ZfsError, ZfsPermissionError
from zdiffsync.external.process import Completed, run_tool

OWNER_PROPERTY = "org.zdiffsync:repository"
_TIMEOUT = 300.0  # seconds; a busy pool can sit on a command for minutes


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset as `zfs list` shows it; `guid` identifies it across renames."""

    name: str
    kind: str
    guid: int
    mountpoint: str
    mounted: bool
    keystatus: str

    @property
    def uncovered_reason(self) -> str | None:
        """Why this dataset cannot be backed up, or None when it can."""
        if self.kind == "volume":
            return "is a zvol (block device); zdiffsync covers file systems"
        if self.keystatus == "unavailable":
            return f"is encrypted and its key is not loaded; run zfs load-key {self.name}"
        if not self.mounted:
            return f"is not mounted; run zfs mount {self.name}"
        return None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot; `created` in seconds since 1970, `owner` the repository that made it or ''."""

    name: str
    guid: int
    createtxg: int
    created: int
    owner: str

    @property
    def dataset(self) -> str:
        """The dataset's part of the name."""
        return self.name.partition("@")[0]

    @property
    def label(self) -> str:
        """The part behind the @."""
        return self.name.partition("@")[2]


def datasets(name: str, *, recursive: bool) -> list[Dataset]:
    """List the dataset `name`, with its children when `recursive`.

    Raises NoSuchDatasetError, ZfsPermissionError, ZfsError.
    """
    flags = ["-r"] if recursive else []
    rows = _table(
        [
            "list", "-Hp", *flags, "-t", "filesystem,volume",
            "-o", "name,type,guid,mountpoint,mounted,keystatus", name,
        ]
    )  # fmt: skip
    return [Dataset(row[0], row[1], int(row[2]), row[3], row[4] == "yes", row[5]) for row in rows]


def snapshots(dataset: str) -> list[Snapshot]:
    """List the snapshots of one dataset, oldest first. Raises like `datasets`."""
    rows = _table(
        [
            "list", "-Hp", "-d", "1", "-t", "snapshot", "-s", "createtxg",
            "-o", f"name,guid,createtxg,creation,{OWNER_PROPERTY}", dataset,
        ]
    )  # fmt: skip
    return [_snapshot(row) for row in rows]


def _snapshot(row: list[str]) -> Snapshot:
    owner = "" if row[4] == "-" else row[4]
    return Snapshot(row[0], int(row[1]), int(row[2]), int(row[3]), owner)


def find_snapshot(dataset: str, guid: int) -> Snapshot | None:
    """Return the snapshot of `dataset` with this guid (its name may have changed), or None."""
    return next((snap for snap in snapshots(dataset) if snap.guid == guid), None)


def take_snapshots(names: Sequence[str], label: str, *, owner: str) -> None:
    """Take `name@label` of all these datasets of one pool at one instant, marked as ours."""
    _run(["snapshot", "-o", f"{OWNER_PROPERTY}={owner}", *(f"{name}@{label}" for name in names)])


def hold(tag: str, snapshot: str) -> None:
    """Keep `snapshot` from being destroyed; holding twice is no error."""
    try:
        _run(["hold", tag, snapshot])
    except ZfsError as error:
        if "tag already exists" not in str(error):
            raise


def release(tag: str, snapshot: str) -> None:
    """Give up a hold; a hold or snapshot that is not there is no error."""
    try:
        _run(["release", tag, snapshot])
    except NoSuchDatasetError:
        return
    except ZfsError as error:
        if "no such tag" not in str(error):
            raise


def destroy(snapshot: Snapshot, *, owner: str) -> None:
    """Destroy a snapshot that `owner` made; refuse any other.

    The property is read again right before, by guid, so that neither a stale list nor a
    renamed stranger can cost somebody a snapshot. Raises ZfsError.
    """
    current = find_snapshot(snapshot.dataset, snapshot.guid)
    if current is None:
        return
    if current.owner != owner:
        raise ZfsError(f"{current.name} was not made by this repository and will not be destroyed")
    _run(["destroy", current.name])


def create(name: str, properties: Mapping[str, str]) -> None:
    """Make and mount a file system. Raises ZfsError, also when there is one of that name."""
    options = [option for key, value in properties.items() for option in ("-o", f"{key}={value}")]
    _run(["create", *options, name])


def read_property(name: str, key: str) -> str | None:
    """Return a property of a dataset ('-': not set), None when there is no such dataset. Raises ZfsError."""
    try:
        return _table(["get", "-Hp", "-o", "value", key, name])[0][0]
    except NoSuchDatasetError:
        return None


def clear_property(name: str, key: str) -> None:
    """Take a property of our own away from a dataset. Raises ZfsError."""
    _run(["inherit", key, name])


def version() -> str:
    """Return the OpenZFS version, such as '2.3.2-2'."""
    return _run(["version"]).stdout.decode().split("\n", 1)[0].removeprefix("zfs-")


def mountpoint(dataset: str) -> bytes:
    """Return where the kernel has `dataset` mounted now. Raises ZfsError when it is not."""
    table = Path("/proc/self/mounts").read_bytes()
    for line in table.splitlines():
        source, target, kind, *_ = line.split(b" ")
        if kind == b"zfs" and _unescape(source) == os.fsencode(dataset):
            return _unescape(target)
    raise ZfsError(f"{dataset} is not mounted; run zfs mount {dataset}")


def _unescape(field: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), field)


def snapshot_directory(dataset: str, label: str) -> bytes:
    """Return the directory under which the snapshot's files can be read; opening it mounts it."""
    return os.path.join(mountpoint(dataset), b".zfs", b"snapshot", os.fsencode(label))


def _table(arguments: Sequence[str]) -> list[list[str]]:
    text = os.fsdecode(_run(arguments).stdout)
    return [line.split("\t") for line in text.splitlines()]


def _run(arguments: Sequence[str]) -> Completed:
    done = run_tool(["zfs", *arguments], timeout=_TIMEOUT)
    if done.returncode:
        raise failure(arguments, done.stderr, done.returncode)
    return done


def failure(arguments: Sequence[str], stderr: bytes, returncode: int) -> ToolError:
    """Turn what `zfs` wrote to stderr into the error that fits."""
    text = " ".join(os.fsdecode(stderr).split()) or f"exit code {returncode}"
    what = f"zfs {arguments[0]} {arguments[-1]}: {text}"
    with contextlib.suppress(StopIteration):
        return next(
            kind(f"{what}; {advice}" if advice else what)
            for pattern, kind, advice in _KNOWN_FAILURES
            if re.search(pattern, text, re.IGNORECASE)
        )
    return ZfsError(what)


_KNOWN_FAILURES: tuple[tuple[str, type[ToolError], str], ...] = (
    (
        r"permission denied|operation not permitted|insufficient privilege",
        ZfsPermissionError,
        "run as root or see docs/permissions.md for zfs allow",
    ),
    (
        r"does not exist|could not find any snapshots|no such pool|not found in pool",
        NoSuchDatasetError,
        "",
    ),
    (r"/dev/zfs|modules? .*not.* loaded", ZfsError, "load the ZFS kernel module (modprobe zfs)"),
)
