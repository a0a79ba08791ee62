"""The door to restic: the full bases and everything read from them.

A base is one restic snapshot of one whole ZFS snapshot; restores fetch from it what no increment has
changed. Rule: paths are bytes relative to the base's root (b"" is the root), snapshots are full ids.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO

import msgspec

from zdiffsync.errors import IntegrityError
from zdiffsync.external.restic_listing import listing
from zdiffsync.external.restic_node import ListedNode, ResticNode, parse_tree
from zdiffsync.external.restic_patterns import exact_patterns
from zdiffsync.external.restic_run import NO_REPOSITORY, ResticRunner
from zdiffsync.external.restic_transfer import (
    Failures,
    Followed,
    Report,
    failures,
    follow,
    remove_broken,
    shown,
    true_paths,
)
from zdiffsync.model.progress import Progress

_GROUP = ("--group-by", "host,tags")  # a dataset's path differs in every snapshot
_LONG = 7 * 86_400.0  # seconds; reading a whole repository through a home uplink takes days
_RESTORE_STALL = 3600.0
_PRUNE_ELSEWHERE = 7200.0  # seconds; another host's prune locks the repository as long as it takes
_SOME_UNREADABLE = 3
_BLOCK = 1 << 20
_PACK = re.compile(rb"\bpack ([0-9a-f]{64})\b")
# restic compares every pattern with every name it passes: 100,000 at once would take hours. Sorted and in
# parts, each run passes few names (measured 0.11 µs a pair, 1.3 s a run).
_INCLUDES_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """One finished base. Sizes in bytes, `seconds` of restic's own work.

    `bytes_processed` is the size of all files, `bytes_read` what had to be read of them (about; on kernels
    that keep no count the new data), `bytes_added` the new data and `bytes_added_packed` what it takes in
    the repository. `failed`: (path, reason) of files that are not in the base.
    """

    snapshot_id: str
    files_new: int
    files_changed: int
    files_unmodified: int
    bytes_added: int
    bytes_added_packed: int
    bytes_processed: int
    bytes_read: int
    seconds: float
    failed: Failures


@dataclass(frozen=True, slots=True)
class RestoreSummary:
    """One finished restore: names and bytes written, and (path, reason) of what failed.

    A file whose bytes are not all right is not left behind; one that lacks only metadata is.
    """

    files: int
    size: int
    failed: Failures


@dataclass(frozen=True, slots=True)
class ResticSnapshot:
    """One restic snapshot; `time` is that of the ZFS snapshot it holds."""

    id: str
    time: datetime
    host: str
    tags: tuple[str, ...]


class BasesDamagedError(IntegrityError):
    """restic's check found damage; `packs` are the packs it named."""

    def __init__(self, text: str, packs: frozenset[str]) -> None:
        super().__init__(text)
        self.packs = packs


class Restic:
    """One restic repository on an rclone remote.

    `repository` is e.g. "rclone:remote:restic"; `environment` holds the variables that define the remote;
    `binary` and `rclone_program` default to the installed ones; `bwlimit` is rclone's; `transfers` the
    connections kept busy at once.

    Besides what each method names, all raise ToolMissingError (restic missing or older than 0.18),
    WrongPasswordError, LockedError, RemoteError, IntegrityError, ToolStalledError and ResticError.
    """

    def __init__(
        self,
        repository: str,
        password_file: Path,
        cache_dir: Path,
        *,
        environment: Mapping[str, str],
        binary: str | None = None,
        rclone_program: str | None = None,
        bwlimit: str | None = None,
        transfers: int | None = None,
    ) -> None:
        self._runner = ResticRunner(
            repository, password_file, cache_dir, environment=environment, binary=binary,
            rclone_program=rclone_program, bwlimit=bwlimit, transfers=transfers,
        )  # fmt: skip

    def version(self) -> tuple[int, ...]:
        """Return restic's (major, minor, patch)."""
        return self._runner.version()

    def init(self) -> None:
        """Create the repository. Raises ResticError when there is one."""
        self._runner.run("init", "--json")

    def exists(self) -> bool:
        """Whether there is a repository, which the password opens."""
        done = self._runner.attempt("cat", "config", "--json", "--no-lock")
        if done.returncode not in {0, NO_REPOSITORY}:
            raise self._runner.failure("cat", done)
        return not done.returncode

    def backup(
        self,
        directory: int,
        *,
        parent: str | None,
        tags: Sequence[str],
        host: str,
        time: datetime,
        exclude_file: Path | None,
        progress: Progress,
        stall: float,
        reread: bool = False,
    ) -> BackupSummary:
        """Store the tree below an open directory descriptor as one snapshot; sockets are left out.

        With `parent` only files that changed since that snapshot are read; without, since the newest one of
        this host with these tags; with `reread` all are. `exclude_file` holds lines of `exclude_patterns`.
        Files that cannot be read are in the summary. Raises ToolStalledError after `stall` seconds without
        progress.
        """
        options = ["--json", *_GROUP, "--host", host, "--tag", ",".join(tags)]
        options += ["--time", time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")]
        if reread:
            options.append("--force")
        elif parent is not None:
            options += ["--parent", parent]
        if exclude_file is not None:
            options += ["--exclude-file", str(exclude_file)]
        return self._runner.unlocking(
            lambda: self._backup(directory, options, progress, stall), patience=_PRUNE_ELSEWHERE
        )

    def _backup(
        self, directory: int, options: Sequence[str], progress: Progress, stall: float
    ) -> BackupSummary:
        passed = 0

        def advance(report: Report) -> None:
            nonlocal passed
            progress.advance(report.bytes_passed - passed)
            passed = report.bytes_passed

        # An idle .zfs/snapshot mount goes away under its path, not under an open descriptor.
        place = f"/proc/self/fd/{directory}"
        with self._runner.stream("backup", *options, ".", cwd=place, stall=stall) as running:
            followed = follow(running, advance, stall)
            done = running.wait()
        if followed is None or done.returncode not in {0, _SOME_UNREADABLE}:
            raise self._runner.failure("backup", done)
        progress.advance(max(0, followed.summary.total_bytes_processed - passed))
        root = shown(os.fsencode(os.readlink(place)))

        def resolve(item: str) -> list[bytes]:
            return true_paths(
                item.removeprefix(root).strip("/"),
                lambda folder: [os.fsencode(name) for name in os.listdir(os.fsencode(place) + b"/" + folder)],
            )

        failed = failures(done.stderr, resolve)
        if done.returncode and not failed:  # incomplete, and nobody could tell where
            raise self._runner.failure("backup", done)
        return _backup_summary(followed, failed)

    def restore(
        self,
        snapshot: str,
        subdirectory: bytes | None,
        target: Path,
        *,
        includes: Sequence[bytes] | None,
        progress: Progress,
        sparse: bool = True,
    ) -> RestoreSummary:
        """Write what lies below `subdirectory` of a snapshot into the directory `target`.

        `includes`: only these paths, relative to the subdirectory, with all below them and their parent
        directories; a few more may come. From 2,000 paths on they come in parts, and names of one
        hard-linked file in two parts come as two files. The metadata of `target` itself is not touched.
        """
        place = snapshot.encode() + b":" + (subdirectory or b"")
        options = ["--json", *(["--sparse"] if sparse else [])]
        if includes is None:
            return self._runner.unlocking(lambda: self._restore(place, options, target, progress, 0))
        done = RestoreSummary(0, 0, ())
        patterns = exact_patterns(b"", sorted(includes))
        for start in range(0, len(patterns), _INCLUDES_AT_ONCE):
            with NamedTemporaryFile() as file:
                file.writelines(line + b"\n" for line in patterns[start : start + _INCLUDES_AT_ONCE])
                file.flush()
                selected = [*options, "--include-file", file.name]
                before = done.size
                part = self._runner.unlocking(
                    lambda: self._restore(place, selected, target, progress, before)  # noqa: B023 - called here
                )
            done = RestoreSummary(done.files + part.files, done.size + part.size, done.failed + part.failed)
        return done

    def _restore(
        self, place: bytes, options: Sequence[str], target: Path, progress: Progress, before: int
    ) -> RestoreSummary:
        passed = 0

        def advance(report: Report) -> None:
            nonlocal passed
            progress.expect(before + report.total_bytes)
            progress.advance(report.bytes_passed - passed)
            passed = report.bytes_passed

        folder = os.fsencode(target)
        stream = self._runner.stream("restore", *options, "--target", folder, place, stall=_RESTORE_STALL)
        with stream as running:
            followed = follow(running, advance, _RESTORE_STALL)
            done = running.wait()
        failed = failures(done.stderr, lambda item: self._true_paths(place, item.strip("/")))
        if followed is None or (done.returncode and not failed):
            raise self._runner.failure("restore", done)
        failed = remove_broken(folder, failed)
        advance(followed.summary)
        return RestoreSummary(followed.summary.total_files, followed.summary.bytes_restored, failed)

    def _true_paths(self, place: bytes, item: str) -> list[bytes]:
        return true_paths(item, lambda folder: [node.name for node in self._tree(place + b"/" + folder)])

    def dump(self, snapshot: str, path: bytes, out: BinaryIO) -> None:
        """Write the bytes of one file to `out`; when this raises, what was written is not the file.

        The caller knows that it is a file: restic would pack a directory into a tar archive.
        """
        with self._runner.stream("dump", "--json", "--no-lock", snapshot, b"/" + path) as running:
            shutil.copyfileobj(running.stdout, out, _BLOCK)
            done = running.wait()
        if done.returncode:
            raise self._runner.failure("dump", done)

    def tree(self, snapshot: str, path: bytes) -> list[ResticNode]:
        """Return what one directory holds, complete and exact, sorted by name."""
        return self._tree(snapshot.encode() + b":" + path)

    def _tree(self, place: bytes) -> list[ResticNode]:
        return parse_tree(self._runner.run("cat", "tree", "--json", "--no-lock", place))

    def listing(self, snapshot: str, path: bytes) -> Iterator[tuple[bytes, ListedNode]]:
        """Yield (path relative to `path`, node) of everything below a directory, parents first."""
        return listing(self._runner, snapshot.encode() + b":" + path)

    def snapshots(self, tags: Sequence[str] = ()) -> list[ResticSnapshot]:
        """Return the snapshots that have all these tags, oldest first."""
        filters = ["--tag", ",".join(tags)] if tags else []
        found = self._runner.run("snapshots", "--json", "--no-lock", *filters)
        snapshots = msgspec.json.decode(found, type=list[_SnapshotRecord])
        return sorted(
            (ResticSnapshot(each.id, each.time, each.hostname, tuple(each.tags or ())) for each in snapshots),
            key=lambda each: each.time,
        )

    def forget(self, snapshots: Sequence[str], *, prune: bool) -> None:
        """Forget these snapshots, if they still exist; `prune` also frees the space nothing uses."""
        # restic would look for an unknown snapshot for half a minute.
        existing = {found.id for found in self.snapshots()}
        known = [each for each in snapshots if each in existing]
        if known:
            self._runner.unlocking(lambda: self._maintain("forget", "--json", *known))
        if prune:
            self._runner.unlocking(lambda: self._maintain("prune", "--json"))

    def check(self, read_data_subset: str | None) -> None:
        """Check the repository's structure, and with e.g. "5%", "2G" or "1/7" the bytes of that part.

        Takes no lock, so a backup can go on; what changes meanwhile can look like damage.
        Raises BasesDamagedError with restic's first finding when something is damaged or missing.
        """
        options = [] if read_data_subset is None else [f"--read-data-subset={read_data_subset}"]
        done = self._runner.attempt("check", "--json", "--no-lock", *options, timeout=_LONG)
        if done.returncode:
            error = self._runner.failure("check", done)
            if isinstance(error, IntegrityError):
                packs = {match[1].decode() for match in _PACK.finditer(done.stdout + done.stderr)}
                raise BasesDamagedError(str(error), frozenset(packs))
            raise error

    def mend(self, packs: Sequence[str], folder: Path) -> None:
        """Make restic forget what its packs do not have any more, so that the next backup stores it anew.

        Of these `packs` it keeps what can be read; copies of them as they were come into `folder`.
        """
        if packs:
            self._runner.unlocking(lambda: self._mend("packs", *packs, folder=folder))
        self._runner.unlocking(lambda: self._mend("index", folder=folder))

    def _mend(self, *arguments: str, folder: Path) -> None:
        done = self._runner.attempt("repair", *arguments, timeout=_LONG, cwd=folder)
        if done.returncode:
            raise self._runner.failure("repair", done)

    def _maintain(self, *arguments: str) -> None:
        done = self._runner.attempt(*arguments, timeout=_LONG)
        if done.returncode:
            raise self._runner.failure(arguments[0], done)


class _SnapshotRecord(msgspec.Struct):
    id: str
    time: datetime
    hostname: str = ""
    tags: list[str] | None = None


def check_restic() -> tuple[int, ...]:
    """Return restic's (major, minor, patch). Raises ToolMissingError when it is missing or too old."""
    return Restic("", Path(), Path(), environment={}).version()


def exclude_patterns(root: bytes, paths: Iterable[bytes]) -> list[bytes]:
    """Return the lines of an exclude file for `backup` that leave out exactly these paths.

    `root` is the directory's absolute path, `paths` are relative to it. Every line is compared with every
    name twice (about 0.1 µs), so keep them few: a directory's line covers all below it.
    """
    # restic knows its directory by the kernel's name for it.
    return exact_patterns(os.path.realpath(root), paths)


def _backup_summary(followed: Followed, failed: Failures) -> BackupSummary:
    summary = followed.summary
    read = followed.bytes_read
    if read is None:
        read = summary.data_added if summary.files_unmodified else summary.total_bytes_processed
    return BackupSummary(
        snapshot_id=summary.snapshot_id,
        files_new=summary.files_new,
        files_changed=summary.files_changed,
        files_unmodified=summary.files_unmodified,
        bytes_added=summary.data_added,
        bytes_added_packed=summary.data_added_packed,
        bytes_processed=summary.total_bytes_processed,
        bytes_read=read,
        seconds=summary.total_duration,
        failed=failed,
    )
