"""The folder in the target where a restore keeps what is not yet in place, and what it needs to go on.

Around assembling. It carries a name made from what is restored, so the same command finds it again
after an interruption. Rule: what stands in the target outside this folder is complete, but for the
metadata of directories; those are in the journal until the end.
"""

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from zdiffsync.external.lock import exclusive
from zdiffsync.restore.metadata import Newborn
from zdiffsync.restore.packs import boot

PREFIX = ".zdiffsync-restore-"
_DIRECTORY, _PLACED = b"d", b"p"


class Staging:
    """One restore's folder, open; `resumed` says whether an earlier attempt left it.

    `new` is the open directory where files are made before they are renamed into place, `born` what a
    file is when it was made there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.packs, self.base = folder / "packs", folder / "base"
        self._base_whole = _base_whole(folder)
        journal = folder / "journal"
        self.resumed = journal.exists()
        (folder / "new").mkdir(mode=0o700, exist_ok=True)
        self.new = os.open(folder / "new", os.O_RDONLY | os.O_DIRECTORY)
        self._journal = os.open(journal, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._prefix, self._numbers = secrets.token_hex(8).encode(), count()
        self.born = Newborn.observe(self.new, self.fresh())
        self._made = _noted(journal, _DIRECTORY)
        self._placed = _noted(journal, _PLACED)

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

    def placed(self, path: bytes) -> None:
        """Note that the file at `path` of the target is now ours."""
        self._note(_PLACED, path)

    def was_placed(self, path: bytes) -> bool:
        """Whether an earlier attempt put `path` there."""
        return path in self._placed

    def _note(self, kind: bytes, path: bytes) -> None:
        os.write(self._journal, kind + path + b"\0")

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


def base_came_before(folder: Path) -> bool:
    """Whether restic had brought all it was to bring to an earlier attempt."""
    return _base_whole(folder).exists()


def _base_whole(folder: Path) -> Path:
    return folder / f"base.{boot()}.whole"


def placed_before(folder: Path) -> frozenset[bytes] | None:
    """Return what an earlier attempt noted as placed, None when there was none."""
    journal = folder / "journal"
    return _noted(journal, _PLACED) if journal.exists() else None


def _noted(journal: Path, kind: bytes) -> frozenset[bytes]:
    # What follows the last zero was being written when the earlier attempt ended.
    records = journal.read_bytes().split(b"\0")[:-1]
    return frozenset(record[1:] for record in records if record[:1] == kind)


def staging_folder(target: Path, point: str, what: bytes) -> Path:
    """Return the folder for restoring `what` (any bytes that tell restores apart) of a point."""
    return target / f"{PREFIX}{point}-{hashlib.sha256(what).hexdigest()[:8]}"


@contextmanager
def opened_staging(folder: Path) -> Iterator[Staging]:
    """Open the folder, making it when it is not there; it goes when the body ends without an error.

    Raises LockedError while another process does the same restore.
    """
    with exclusive(folder / "lock", "restore"):
        staging = Staging(folder)
        try:
            yield staging
        finally:
            staging.close()
        shutil.rmtree(folder)
