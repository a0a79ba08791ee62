"""The local lock: one process at a time changes a state directory.

Taken by every command that writes. Rule: the kernel's flock decides; what the file says is only
for the message, so a crash never leaves a lock behind.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from zdiffsync.errors import ConfigError, LockedError


@contextmanager
def exclusive(path: Path, what: str, *, called: Path | None = None) -> Iterator[None]:
    """Hold the lock file `path` (in messages: `called`) while doing `what`.

    Raises LockedError naming the holder, ConfigError when it cannot be opened or is a symlink.
    """
    called = called or path
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"cannot open the lock {called}: {error.strerror}; set state_dir or run as root"
        ) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockedError(f"{_holder(fd)} holds {called}; wait for it to end") from error
        holder = {"pid": os.getpid(), "what": what, "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%SZ}"}
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(holder).encode(), 0)
        yield
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock: the process, the command it is doing, since when (UTC)."""

    pid: int
    what: str
    since: str


def lock_holder(path: Path) -> Holder | None:
    """Return who holds the lock file `path`, None when nobody does.

    Never takes it, not even for a moment: a run that begins in that moment would be refused.
    """
    try:
        holder = Holder(**json.loads(path.read_bytes()))
        end = f":{path.stat().st_ino}"
        locks = [line.split() for line in Path("/proc/locks").read_text(encoding="ascii").splitlines()]
    except (OSError, ValueError, TypeError):
        return None
    held = any(
        lock[1] == "FLOCK" and lock[4] == str(holder.pid) and lock[5].endswith(end)
        for lock in locks
        if len(lock) > 5  # noqa: PLR2004 - number, kind, mode, access, process, file
    )
    return holder if held else None


def _holder(fd: int) -> str:
    try:
        holder = json.loads(os.pread(fd, 1000, 0))
        return f"zdiffsync {holder['what']} (process {holder['pid']}, since {holder['since']})"
    except (ValueError, KeyError, TypeError):
        return "another zdiffsync process"
