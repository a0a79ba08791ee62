"""Following restic while it moves files: progress, stalls, the summary, and the files that failed.

Between the `backup` and `restore` commands of the restic door and their callers. restic prints its status
twice a second whether anything moves or not. Rule: no news in the numbers is no progress.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

import msgspec

from zdiffsync.errors import ResticError, ToolStalledError
from zdiffsync.external.process import RunningTool
from zdiffsync.external.restic_run import complaints

_KEPT_STDERR = 1 << 20  # bytes; what external.process keeps
_REPLACEMENT = "\ufffd"
# What restic says when a file's bytes are right but its owner, times, mode or xattrs could not be set.
_METADATA = re.compile(r"lchown |chmod |xattr\.|failed to restore timestamp|utimensat|UtimesNano")

Failures = tuple[tuple[bytes, str], ...]


class Report(msgspec.Struct, frozen=True):
    """One line of restic's stdout: a status, or the summary at the end. Sizes in bytes, times in seconds."""

    message_type: str = ""
    files_done: int = 0
    files_restored: int = 0
    files_skipped: int = 0
    total_bytes: int = 0
    bytes_done: int = 0
    bytes_restored: int = 0
    bytes_skipped: int = 0
    snapshot_id: str = ""
    files_new: int = 0
    files_changed: int = 0
    files_unmodified: int = 0
    data_added: int = 0
    data_added_packed: int = 0
    total_bytes_processed: int = 0
    total_duration: float = 0.0
    total_files: int = 0

    @property
    def bytes_passed(self) -> int:
        """Bytes dealt with so far."""
        return self.bytes_done + self.bytes_restored + self.bytes_skipped

    @property
    def numbers(self) -> tuple[int, ...]:
        """What moves when restic does."""
        return (
            self.bytes_passed, self.total_bytes, self.files_done + self.files_restored + self.files_skipped,
            self.total_files,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Followed:
    """A command that printed its summary; `bytes_read` is None where the kernel keeps no count."""

    summary: Report
    bytes_read: int | None


def follow(running: RunningTool, progress: Callable[[Report], None], stall: float) -> Followed | None:
    """Read statuses until restic closes its stdout; None when it ended without a summary.

    Raises ToolStalledError when the numbers stand still for `stall` seconds.
    """
    found = None
    numbers: tuple[int, ...] = ()
    moved = monotonic()
    for report in _reports(running):
        if report.message_type == "summary":
            # The process has not been waited for yet, so its counters are still there.
            found = Followed(report, _bytes_read(running.pid))
        elif report.message_type == "status":
            if report.numbers != numbers:
                numbers, moved = report.numbers, monotonic()
                progress(report)
            elif monotonic() - moved > stall:
                raise ToolStalledError(f"restic made no progress for {stall:g} s and was stopped")
    return found


def _reports(running: RunningTool) -> Iterator[Report]:
    for line in running.stdout:
        with suppress(msgspec.DecodeError):  # a remark in plain text
            yield msgspec.json.decode(line, type=Report)


def failures(stderr: bytes, resolve: Callable[[str], list[bytes]]) -> Failures:
    """Return (path, reason) of every file restic reports as failed; `resolve` finds a shown path's bytes.

    Raises ResticError when there are so many that not all were kept.
    """
    if len(stderr) >= _KEPT_STDERR:
        raise ResticError("restic failed on more files than can be told apart; check the pool and the remote")
    found: dict[bytes, str] = {}
    for complaint in complaints(stderr, "error"):
        if complaint.item:
            for path in resolve(complaint.item):
                found.setdefault(path, complaint.error.message)
    return tuple(found.items())


def shown(name: bytes) -> str:
    """Return a name as restic's JSON shows it: each byte that is not UTF-8 as U+FFFD."""
    return "".join(
        _REPLACEMENT if "\udc80" <= letter <= "\udcff" else letter
        for letter in name.decode("utf-8", "surrogateescape")
    )


def true_paths(path: str, names_in: Callable[[bytes], list[bytes]]) -> list[bytes]:
    """Return every path that restic could have shown as `path`; both relative to the root (b"").

    `names_in` lists a directory; it may raise OSError, then the shown bytes stand. Nearly always there is
    one; two names that differ only in bytes that are not UTF-8 both come back.
    """
    found = [b""]
    for part in path.split("/"):
        if _REPLACEMENT in part:
            found = [_join(parent, name) for parent in found for name in _matching(parent, part, names_in)]
        else:
            found = [_join(parent, part.encode()) for parent in found]
    return found


def _matching(parent: bytes, part: str, names_in: Callable[[bytes], list[bytes]]) -> Iterator[bytes]:
    matching = []
    with suppress(OSError):
        matching = [name for name in names_in(parent) if shown(name) == part]
    yield from matching or [part.encode()]


def _join(parent: bytes, name: bytes) -> bytes:
    return parent + b"/" + name if parent else name


def _bytes_read(pid: int) -> int | None:
    """Bytes read less bytes written by a process.

    restic's packs pass twice through a temporary file and a pipe, which counts on both sides; what is
    left is what it read of the source (within 4 % where that was measured).
    """
    try:
        with open(f"/proc/{pid}/io", "rb") as file:
            counts = dict(line.split(b": ") for line in file)
    except OSError:  # a kernel without task accounting
        return None
    return max(0, int(counts[b"rchar"]) - int(counts[b"wchar"]))


def remove_broken(target: bytes, failed: Failures) -> Failures:
    """Remove what restic left of files it could not restore whole: full size, but not full of their bytes.

    All names of a broken file go, those that restic linked to it later too; returned are the failures with
    these names added. Directories stay, and so do files that only lack metadata.
    """
    linked: dict[tuple[int, int], str] = {}
    for path, reason in failed:
        place = os.path.join(target, path)
        with suppress(FileNotFoundError, NotADirectoryError):
            info = os.lstat(place)
            if stat.S_ISDIR(info.st_mode) or _METADATA.match(reason):
                continue
            if info.st_nlink > 1:
                linked[info.st_dev, info.st_ino] = reason
            os.unlink(place)
    if not linked:
        return failed
    more = []
    for directory, _folders, files in os.walk(target):
        for name in files:
            place = os.path.join(directory, name)
            info = os.lstat(place)
            if (info.st_dev, info.st_ino) in linked:
                os.unlink(place)
                more.append((os.path.relpath(place, target), linked[info.st_dev, info.st_ino]))
    return (*failed, *more)
