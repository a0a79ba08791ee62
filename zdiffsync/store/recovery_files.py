"""The two files on the remote for those who have no zdiffsync: RECOVERY.md and recover.py.

Stored by `init`, brought up to date by `run`. Rule: the only objects that are ever replaced, since nothing
depends on them; and a remote that does not let us is no reason for a run to fail.
"""

import hashlib
import re
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from zdiffsync.errors import IntegrityError, ObjectMissingError, RemoteError
from zdiffsync.external.files import replace_private
from zdiffsync.store.area import Area

_PROGRAM = "recover.py"
_NAMES = ("RECOVERY.md", _PROGRAM)
_LARGEST = 1 << 20  # bytes
_EDITION = re.compile(rb"^EDITION = ([0-9]+)\b", re.MULTILINE)


def store_recovery_files(area: Area) -> None:
    """Have both at the root of a remote (`area` is its plain one), as they are here.

    Raises RemoteError, also where a foreign file has such a name.
    """
    names = [name for name in _NAMES if _stored(area, name) != _ours(name)]
    area.delete([name for name in names if b"zdiffsync" in _stored(area, name)])
    with TemporaryDirectory(prefix="zdiffsync-") as folder:
        for name in names:
            Path(folder, name).write_bytes(_ours(name))
        area.upload(Path(folder), names, lambda _sent: None)


def refresh_recovery_files(area: Area, repository: str, memory: Path) -> str | None:
    """Bring both up to date, unless those on the remote are of a newer edition; return why it failed, if so.

    `memory` is a file that remembers what was last done for this `repository` (its id): while nothing has
    changed here, the remote is not asked.
    """
    everything = b"\0".join((repository.encode(), *map(_ours, _NAMES)))
    digest = hashlib.sha256(everything).hexdigest().encode()
    try:
        if memory.exists() and memory.read_bytes() == digest:
            return None
        if _edition(_stored(area, _PROGRAM)) <= _edition(_ours(_PROGRAM)):
            store_recovery_files(area)
        replace_private(memory, digest)
    except (RemoteError, OSError) as error:
        return str(error)
    return None


def _ours(name: str) -> bytes:
    return files("zdiffsync.recovery").joinpath(name).read_bytes()


def _stored(area: Area, name: str) -> bytes:
    try:
        return area.read_all(name, _LARGEST)
    except (ObjectMissingError, IntegrityError):  # an oversized one is not ours either
        return b""


def _edition(program: bytes) -> int:
    found = _EDITION.search(program)
    return int(found[1]) if found else 0
