"""The folder in the target where a restore keeps what is not yet in place, and what it needs to go on.

Around assembling. It carries a name made from what is restored, so the same command finds it again
after an interruption. Rule: what stands in the target outside this folder is complete, but for the
metadata of directories; those are in the journal until the end.

The target may belong to somebody who is not to be trusted. So the folder is opened once, never through a
symlink, believed only if it is ours, and from then on reached through its descriptor.
"""

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from zdiffsync.errors import UsageError
from zdiffsync.external.lock import exclusive
from zdiffsync.restore.metadata import Newborn
from zdiffsync.restore.packs import boot

PREFIX = ".zdiffsync-restore-"
_DIRECTORY, _PLACED = b"d", b"p"


class Staging:
    """One restore's folder, reached as `folder`; `resumed` says whether an earlier attempt left it.

    `new` is the open directory where files are made before they are renamed into place, `born` what a
    file is when it was made there.
    """

    def __init__(self, folder: Path) -> None:
        self.packs, self.base = folder / "packs", folder / "base"
        self._base_whole = _base_whole(folder)
        journal = folder / "journal"
        self.resumed = journal.exists()
        (folder / "new").mkdir(mode=0o700, exist_ok=True)
        self.new = os.open(folder / "new", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._journal = os.open(journal, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.ftruncate(self._journal, journal.read_bytes().rfind(b"\0") + 1)  # or a record cut off would go on
        self._prefix, self._numbers = secrets.token_hex(8).encode(), count()
        self.born = Newborn.observe(self.new, self.fresh())
        self._made = frozenset(_noted(journal, _DIRECTORY))
        self._placed = _placed(journal)

    def close(self) -> None:
        """Close what is open; the folder stays."""
        os.close(self.new)
        os.close(self._journal)

    def making(self, path: bytes) -> None:
        """Note that the directory `path` of the target is about to be made."""
        self._note(_DIRECTORY, path)

    def made(self, path: bytes) -> bool:
        """Whether this restore, or its earlier attempt, made the directory `path`."""
        return path in self._made

    def placing(self, path: bytes, made: os.stat_result) -> None:
        """Note that the file `made` is about to be moved to `path` of the target."""
        self._note(_PLACED, b"%d " % made.st_ino + path)

    def was_placed(self, path: bytes, there: os.stat_result | None) -> bool:
        """Whether what is at `path` was put there by an earlier attempt."""
        return there is not None and self._placed.get(path) == there.st_ino

    def _note(self, kind: bytes, what: bytes) -> None:
        record = kind + what + b"\0"
        if os.write(self._journal, record) < len(record):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @property
    def base_is_whole(self) -> bool:
        """Whether all that restic was to bring had come; it may have been moved into place since."""
        return self._base_whole.exists()

    def base_came(self) -> None:
        """Note that restic has brought all it was to bring."""
        self._base_whole.touch(0o600)

    def fresh(self) -> bytes:
        """Return a name for a new file in `new`."""
        return b"%s-%d" % (self._prefix, next(self._numbers))


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an earlier attempt left: `placed` are the inodes it moved to paths, `packs` its pieces' folder.

    `base_came`: restic had brought all it was to bring.
    """

    placed: dict[bytes, int]
    base_came: bool
    packs: Path


@contextmanager
def opened_earlier(root: int, folder: Path) -> Iterator[Earlier | None]:
    """Look at what an earlier attempt left in `folder` of the open directory `root`; None: nothing.

    Raises UsageError when the folder is not ours.
    """
    try:
        descriptor = _open(root, folder)
    except FileNotFoundError:
        yield None
        return
    try:
        place = _reached(descriptor)
        journal = place / "journal"
        if journal.exists():
            yield Earlier(_placed(journal), _base_whole(place).exists(), place / "packs")
        else:
            yield None
    finally:
        os.close(descriptor)


def _base_whole(folder: Path) -> Path:
    return folder / f"base.{boot()}.whole"


def _placed(journal: Path) -> dict[bytes, int]:
    noted = (record.partition(b" ") for record in _noted(journal, _PLACED))
    return {path: int(inode) for inode, _, path in noted}


def _noted(journal: Path, kind: bytes) -> list[bytes]:
    # What follows the last zero was being written when the earlier attempt ended.
    records = journal.read_bytes().split(b"\0")[:-1]
    return [record[1:] for record in records if record[:1] == kind]


def staging_folder(target: Path, point: str, what: bytes) -> Path:
    """Return the folder for restoring `what` (any bytes that tell restores apart) of a point."""
    return target / f"{PREFIX}{point}-{hashlib.sha256(what).hexdigest()[:8]}"


@contextmanager
def opened_staging(root: int, folder: Path) -> Iterator[Staging]:
    """Open `folder` of the open directory `root`, making it when it is not there.

    It goes when the body ends without an error. Raises LockedError while another process does the same
    restore, UsageError when the folder is not ours.
    """
    with suppress(FileExistsError):
        os.mkdir(folder.name, 0o700, dir_fd=root)
    descriptor = _open(root, folder)
    try:
        place = _reached(descriptor)
        with exclusive(place / "lock", "restore", called=folder / "lock"):
            staging = Staging(place)
            try:
                yield staging
            finally:
                staging.close()
            shutil.rmtree(folder.name, dir_fd=root)
    finally:
        os.close(descriptor)


def _reached(descriptor: int) -> Path:
    """Return a path that leads to an open directory whatever becomes of its name, for our children, too."""
    return Path(f"/proc/{os.getpid()}/fd/{descriptor}")


def _open(root: int, folder: Path) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(folder.name, flags, dir_fd=root)
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.ENOTDIR}:
            raise
        raise UsageError(f"{folder} is no directory of ours; remove it and run the command again") from error
    owner = os.fstat(descriptor).st_uid
    # Where a file system knows no owners, all it shows is whom a new file would belong to.
    if owner != os.geteuid() and owner != _owner_of_new(root):
        os.close(descriptor)
        raise UsageError(f"{folder} belongs to another user; remove it and run the command again")
    return descriptor


def _owner_of_new(root: int) -> int:
    return Newborn.observe(root, f"{PREFIX}{secrets.token_hex(8)}".encode()).uid
