"""Reading objects: over the daemon, and where that fails once more by `rclone cat`, which says why.

The daemon answers "404 Not Found" whenever it cannot open an object (wrong key, damage, network), and
cuts the connection when reading fails in between. Only rclone's command line tells these apart.
Rule: what is given out is contiguous and complete, or an error follows.
"""

import http.client
import re
from collections.abc import Iterator

from zdiffsync.errors import IntegrityError, ObjectMissingError, RemoteError, ZdiffsyncError
from zdiffsync.external.process import run_tool
from zdiffsync.external.rclone_daemon import RcloneDaemon
from zdiffsync.external.rclone_env import RcloneSetup, last_line

_CHUNK = 1 << 20
_OPENED = (http.client.OK, http.client.PARTIAL_CONTENT)
_MISSING = (3, 4)  # rclone's exit codes for a missing directory and a missing file
_DAMAGED = re.compile(
    r"failed to authenticate|not an encrypted file|too short to be encrypted|bad password|"
    r"bad PKCS#7|truncated|corrupted"
)


def read_chunks(
    daemon: RcloneDaemon,
    fs: str,
    name: str,
    offset: int = 0,
    length: int | None = None,
    *,
    up_to_end: bool = False,
) -> Iterator[bytes]:
    """Give the bytes of an object from `offset`: exactly `length` of them, or all up to its end.

    `up_to_end`: at most `length`, fewer (but one at least) where the object ends before.

    A broken connection is taken up again where it broke. Raises ObjectMissingError; IntegrityError for
    an object that is shorter, damaged or encrypted with another password; RemoteError.
    """
    where = daemon.setup.place(fs, name)
    position = offset
    end = None if length is None else offset + length
    while end is None or position < end:
        try:
            with daemon.open(fs, name, position, None if end is None else end - position) as response:
                if response.status in _OPENED and response.length is not None:
                    if end is None or (up_to_end and response.length):
                        end = position + response.length
                    while chunk := response.read(_CHUNK):
                        position += len(chunk)
                        yield chunk
        except (OSError, http.client.HTTPException):
            pass
        if end is not None and position >= end:
            return
        size = daemon.size(fs, name)
        if size is None:
            raise ObjectMissingError(f"{where} is not there")
        if end is None or (up_to_end and position < size < end):
            end = size
        chunk = b"" if 0 < size <= position else cat(daemon.setup, fs, name, position, _count(position, end))
        if not chunk and position < end:
            raise IntegrityError(f"{where} ends at byte {size}, before byte {end}: it is truncated")
        position += len(chunk)
        yield chunk


def _count(position: int, end: int) -> int:
    """Ask for a byte at least: a damaged header makes an object look empty, and reading it says so."""
    return max(1, min(_CHUNK, end - position))


def cat(setup: RcloneSetup, fs: str, name: str, offset: int, count: int) -> bytes:
    """Read at most `count` bytes from `offset` with one rclone process.

    Fewer bytes mean the end of the object. Raises ObjectMissingError, IntegrityError, RemoteError.
    """
    argv = [setup.binary, "cat", "--offset", str(offset), "--count", str(count), f"{fs}{name}"]
    done = run_tool(argv, timeout=setup.patience, env=setup.environment)
    if done.returncode:
        raise _failure(setup, fs, name, last_line(done.stderr), done.returncode)
    return done.stdout


def _failure(setup: RcloneSetup, fs: str, name: str, said: str, code: int) -> ZdiffsyncError:
    where = setup.place(fs, name)
    if code in _MISSING:
        return ObjectMissingError(f"{where} is not there: {said}")
    if _DAMAGED.search(said):
        return IntegrityError(f"{where} is damaged or was written with another password: {said}")
    return RemoteError(f"{where} cannot be read: {said}")
