"""Writing one file's bytes into the staging folder, holes as holes, large ones resumable.

Below the assembler. Rule: bytes are checked by the source before they get here; a large file goes on
where an interrupted restore stopped, after a power cut behind what was forced to disk.
"""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress

from zdiffsync.errors import IntegrityError
from zdiffsync.model.bytesource import ByteSource, Hint, read_with
from zdiffsync.model.entry import Entry
from zdiffsync.restore.packs import boot

_BLOCK = 4 << 20
_HOLE = 64 << 10  # bytes; runs of zeros of this size at multiples of it are left out
_ZEROS = bytes(_HOLE)
_STEP = 64 << 20  # bytes between two notes of how far a large file is
_FORCED = 1 << 30  # bytes a power cut may cost of it: forcing them to disk takes as long as writing them


def write_file(
    directory: int,
    name: bytes,
    source: ByteSource,
    hint: Hint | None,
    entry: Entry,
    *,
    progress: Callable[[int], None],
    finish: Callable[[int], None],
) -> None:
    """Write `source`, which must be of the entry's size, to the new file `name` in an open directory.

    A large one may be there already, begun by an earlier attempt. `progress` gets the bytes written since its
    last call, `finish` the open file when it is whole. Raises OSError and what `source.read` raises; then a
    large file and the note beside it stay, for the next attempt.
    """
    if source.size != entry.size:
        raise IntegrityError(f"stored content has {source.size} bytes, the file had {entry.size}")
    lasting = large(entry)
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | (0 if lasting else os.O_EXCL)
    fd = os.open(name, flags, 0o600, dir_fd=directory)
    try:
        done = _begun(directory, name, fd) if lasting else 0
        progress(done)
        forced = noted = end = done
        while done < source.size:
            wanted = min(_BLOCK, source.size - done)
            data = read_with(source, done, wanted, hint)
            if len(data) != wanted:
                raise IntegrityError(f"stored content ends at byte {done + len(data)} of {source.size}")
            end = _write_data(fd, data, done) or end
            done += len(data)
            progress(len(data))
            if done - forced >= _FORCED:
                os.fsync(fd)
                forced = done
            if done - noted >= _STEP:
                _note(directory, name, done, forced)
                noted = done
        if end < entry.size:
            os.ftruncate(fd, entry.size)
        finish(fd)
    finally:
        os.close(fd)
    if lasting:
        with suppress(FileNotFoundError):
            os.unlink(_beside(name), dir_fd=directory)


def _write_data(fd: int, data: bytes, offset: int) -> int:
    """Write `data` at `offset` (a multiple of _HOLE), but for its blocks of zeros; return where that ended.

    0 when there was nothing but zeros.
    """
    start = written = 0
    view = memoryview(data)
    for at in range(0, len(data), _HOLE):
        end = min(at + _HOLE, len(data))
        if view[at:end] == _ZEROS[: end - at]:
            if start < at:
                _put(fd, view[start:at], offset + start)
                written = offset + at
            start = end
    if start < len(data):
        _put(fd, view[start:], offset + start)
        written = offset + len(data)
    return written


def _put(fd: int, data: memoryview, offset: int) -> None:
    """Write all of `data`: where a disk gets full, one call writes a part of it without an error."""
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written


def large(entry: Entry) -> bool:
    """Whether a file is written so that an interrupted restore can go on in the middle of it."""
    return entry.size > _STEP


def lasting_name(path: bytes, entry: Entry) -> bytes:
    """Return the name under which a large file is found again: made from its path and version."""
    version = b"%d %d " % (entry.size, entry.mtime_ns)
    return hashlib.sha256(version + path).hexdigest()[:32].encode()


def _beside(name: bytes) -> bytes:
    return name + b".done"


def _note(directory: int, name: bytes, done: int, forced: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    note = os.open(_beside(name), flags, 0o600, dir_fd=directory)
    try:
        os.write(note, b"%d %d %s\n" % (done, forced, boot().encode()))
    finally:
        os.close(note)


def _begun(directory: int, name: bytes, fd: int) -> int:
    """Return up to where a file is right, cut off there."""
    done = 0
    with suppress(FileNotFoundError):
        note = os.open(_beside(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            text = os.read(note, 100)
        finally:
            os.close(note)
        if text.endswith(b"\n"):
            noted, forced, started = text.split()
            done = int(noted if started == boot().encode() else forced)
    os.ftruncate(fd, done)
    return done
