"""The door to `zfs`: datasets, snapshots, holds. Its stderr becomes typed errors here, nowhere else.

First and last step of the nightly flow (snapshot and hold; release and destroy); also where a restore makes
a dataset of its own.
Rule: only snapshots that carry our own property are ever destroyed.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from zdiffsync.errors import NoSuchDatasetError, ToolError, ZfsError, ZfsPermissionError
from zdiffsync.external.mounts import mounted
from zdiffsync.external.process import Completed, run_tool

OWNER_PROPERTY = "org.zdiffsync:repository"
SAFE_PROPERTY = "org.zdiffsync:cloud-safe"
_OF_SNAPSHOTS = ("guid", "createtxg", "creation", "userrefs", OWNER_PROPERTY, SAFE_PROPERTY)
_TIMEOUT = 300.0  # seconds; a busy pool can sit on a command for minutes


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset as `zfs list` shows it; `guid` identifies it across renames.

    `origin` is the snapshot it is a clone of, or ''.
    """

    name: str
    kind: str
    guid: int
    mountpoint: str
    mounted: bool
    keystatus: str
    origin: str = ""

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
    """One snapshot; `created` in seconds since 1970, `owner` the repository that made it or ''.

    `holds` counts the holds of all tags; `safe` is the value of SAFE_PROPERTY, or ''.
    """

    name: str
    guid: int
    createtxg: int
    created: int
    owner: str
    holds: int
    safe: str

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
            "-o", "name,type,guid,mountpoint,mounted,keystatus,origin", name,
        ]
    )  # fmt: skip
    return [
        Dataset(row[0], row[1], int(row[2]), row[3], row[4] == "yes", row[5], "" if row[6] == "-" else row[6])
        for row in rows
    ]


def snapshots(dataset: str) -> list[Snapshot]:
    """List the snapshots of one dataset, oldest first. Raises like `datasets`."""
    return _snapshots("-d", "1", "-t", "snapshot", dataset)


def snapshot(name: str) -> Snapshot:
    """Return the snapshot of this name. Raises like `datasets`."""
    return _snapshots("-t", "snapshot", name)[0]


def _snapshots(*which: str) -> list[Snapshot]:
    columns = "name,property,value,source"
    found: dict[str, dict[str, str]] = {}
    for name, key, value, source in _table(["get", "-Hp", "-o", columns, ",".join(_OF_SNAPSHOTS), *which]):
        # What was received or inherited says nothing about this snapshot.
        ours = key != OWNER_PROPERTY or source == "local"
        found.setdefault(name, {})[key] = value if ours and value != "-" else ""
    listed = [
        Snapshot(
            name, int(of["guid"]), int(of["createtxg"]), int(of["creation"]), of[OWNER_PROPERTY],
            int(of["userrefs"]), of[SAFE_PROPERTY],
        )
        for name, of in found.items()
    ]  # fmt: skip
    return sorted(listed, key=lambda snap: snap.createtxg)


def lineage(dataset: str) -> Iterator[Snapshot]:
    """Yield the snapshots that `dataset` descends from: its own, then those of what it is a clone of.

    After `zfs promote` of a clone, the older snapshots of the former original are the clone's.
    """
    while True:
        yield from snapshots(dataset)
        origin = read_property(dataset, "origin") or "-"
        if origin == "-":
            return
        dataset = origin.partition("@")[0]


def find_snapshot(dataset: str, guid: int) -> Snapshot | None:
    """Return the snapshot with this guid in the lineage of `dataset`, whatever its name is now, or None."""
    return next((snap for snap in lineage(dataset) if snap.guid == guid), None)


def take_snapshots(names: Sequence[str], label: str, *, owner: str) -> None:
    """Take `name@label` of all these datasets of one pool at one instant, marked as ours."""
    run_zfs(["snapshot", "-o", f"{OWNER_PROPERTY}={owner}", *(f"{name}@{label}" for name in names)])


def hold(tag: str, snapshot: str) -> None:
    """Keep `snapshot` from being destroyed; holding twice is no error."""
    try:
        run_zfs(["hold", tag, snapshot])
    except ZfsError as error:
        if "tag already exists" not in str(error):
            raise


def release(tag: str, snapshot: str) -> None:
    """Give up a hold; a hold or snapshot that is not there is no error."""
    try:
        run_zfs(["release", tag, snapshot])
    except NoSuchDatasetError:
        return
    except ZfsError as error:
        if "no such tag" not in str(error):
            raise


def holds(names: Sequence[str]) -> dict[str, set[str]]:
    """Return the tags that hold each of these snapshots. Raises ZfsError, also when one is gone."""
    tags: dict[str, set[str]] = {name: set() for name in names}
    for name, tag, _since in _table(["holds", "-H", *names]) if names else []:
        tags[name].add(tag)
    return tags


def destroy(snapshot: Snapshot, *, owner: str) -> None:
    """Destroy a snapshot that `owner` made; refuse any other. It stays while held, or while it has a clone.

    The property is read again right before, by guid, so that neither a stale list nor a
    renamed stranger can cost somebody a snapshot. Raises ZfsError.
    """
    current = find_snapshot(snapshot.dataset, snapshot.guid)
    if current is None:
        return
    if current.owner != owner:
        raise ZfsError(f"{current.name} was not made by this repository and will not be destroyed")
    run_zfs(["destroy", "-d", current.name])


def create(name: str, properties: Mapping[str, str]) -> None:
    """Make and mount a file system. Raises ZfsError, also when there is one of that name."""
    options = [option for key, value in properties.items() for option in ("-o", f"{key}={value}")]
    run_zfs(["create", *options, name])


def read_property(name: str, key: str) -> str | None:
    """Return a property of a dataset ('-': not set), None when there is no such dataset. Raises ZfsError."""
    try:
        return _table(["get", "-Hp", "-o", "value", key, name])[0][0]
    except NoSuchDatasetError:
        return None


def set_property(name: str, key: str, value: str) -> None:
    """Give a dataset or snapshot a property of our own. Raises ZfsError."""
    run_zfs(["set", f"{key}={value}", name])


def clear_property(name: str, key: str) -> None:
    """Take a property of our own away from a dataset or snapshot. Raises ZfsError."""
    run_zfs(["inherit", key, name])


def mountpoint(dataset: str) -> bytes:
    """Return where the kernel has `dataset` mounted now. Raises ZfsError when it is not."""
    for source, target in mounted(b"zfs"):
        if source == os.fsencode(dataset):
            return target
    raise ZfsError(f"{dataset} is not mounted; run zfs mount {dataset}")


def snapshot_directory(dataset: str, label: str) -> bytes:
    """Return the directory under which the snapshot's files can be read; opening it mounts it."""
    return os.path.join(mountpoint(dataset), b".zfs", b"snapshot", os.fsencode(label))


def _table(arguments: Sequence[str]) -> list[list[str]]:
    text = os.fsdecode(run_zfs(arguments).stdout)
    return [line.split("\t") for line in text.splitlines()]


def run_zfs(arguments: Sequence[str]) -> Completed:
    """Run `zfs` with these arguments. Raises ToolMissingError, ZfsError; see `failure`."""
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
