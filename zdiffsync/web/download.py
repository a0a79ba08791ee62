"""Files, and directories as tar archives, on their way to the browser.

Rule: every byte was held against its digest before it goes out, and what cannot be given whole ends as a
connection that breaks off, never as a file that looks whole. Nothing is shown in the page: a backed-up HTML
file must not run as one of ours.
"""

import logging
import os
import tarfile
from collections.abc import Iterator
from itertools import chain

from flask import Response
from flask.typing import ResponseReturnValue
from werkzeug.http import dump_options_header

from zdiffsync.catalog.catalog import Point
from zdiffsync.errors import UsageError, ZdiffsyncError
from zdiffsync.model.bytesource import ByteSource
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.model.text import shown
from zdiffsync.restore.files import PointFiles
from zdiffsync.restore.walk import Walk, name_in
from zdiffsync.web.links import argument, path_argument
from zdiffsync.web.source import Source

_PIECE = 1 << 20  # bytes
_TYPES = {
    EntryType.FILE: tarfile.REGTYPE, EntryType.DIRECTORY: tarfile.DIRTYPE, EntryType.SYMLINK: tarfile.SYMTYPE,
    EntryType.FIFO: tarfile.FIFOTYPE, EntryType.CHARACTER: tarfile.CHRTYPE, EntryType.BLOCK: tarfile.BLKTYPE,
}  # fmt: skip

log = logging.getLogger("zdiffsync.web")


def file(source: Source) -> ResponseReturnValue:
    """Send one file of a point."""
    point, path = source.point(argument("point")), path_argument()
    with source.catalog.view(point) as view:
        found = Walk(view, source.bases, point).find(path)
        if found is None or found.entry.type is not EntryType.FILE:
            raise UsageError(f"{shown(path)!r} is no file of this point")
        content = PointFiles(view, source.bases, point, source.fetch, source.local).open(found)
    return _sent(_pieces(content), point, found.name, content.size)


def tar(source: Source) -> ResponseReturnValue:
    """Send a directory of a point and all below it, without extended attributes."""
    point, path = source.point(argument("point")), path_argument()
    name = path.rpartition(b"/")[2] or point.dataset.rpartition("/")[2].encode()
    return _sent(_archive(source, point, path, name), point, name + b".tar", None)


def _sent(pieces: Iterator[bytes], point: Point, name: bytes, size: int | None) -> Response:
    """Answer with `pieces`. The first is made before the answer begins: what fails there is an error page."""
    first = next(pieces, b"")
    answer = Response(_unbroken(chain((first,), pieces), f"{point.key[:8]}:{shown(name)}"))
    answer.headers["Content-Type"] = "application/octet-stream"
    answer.headers["Content-Disposition"] = dump_options_header("attachment", {"filename": shown(name)})
    if size is not None:
        answer.content_length = size
    return answer


def _unbroken(pieces: Iterator[bytes], what: str) -> Iterator[bytes]:
    try:
        yield from pieces
    except ZdiffsyncError as error:
        log.error("the download of %s was cut off: %s", what, error)  # noqa: TRY400 - for people
        raise ConnectionAbortedError from error  # the server closes the connection without an end


def _pieces(content: ByteSource) -> Iterator[bytes]:
    for at in range(0, content.size, _PIECE):
        yield content.read(at, min(_PIECE, content.size - at))


def _archive(source: Source, point: Point, path: bytes, name: bytes) -> Iterator[bytes]:
    """Yield a tar archive with one top directory, `name`. Sockets, which tar does not know, are left out."""
    with source.catalog.view(point) as view:
        walk = Walk(view, source.bases, point)
        files = PointFiles(view, source.bases, point, source.fetch, source.local)
        top = walk.find(path)
        if top is None or top.entry.type is not EntryType.DIRECTORY:
            raise UsageError(f"{shown(path)!r} is no directory of this point")
        names: dict[int, bytes] = {}
        yield _header(top.entry, name)
        for found in walk.below(top):
            inside = name + b"/" + name_in(top, found)
            if found.entry.type is EntryType.SOCKET:
                continue
            if found.inode in names and found.links > 1:
                yield _header(found.entry, inside, names[found.inode])
                continue
            names[found.inode] = inside
            yield _header(found.entry, inside)
            if found.entry.type is EntryType.FILE:
                yield from _pieces(files.open(found))
                yield bytes(-found.entry.size % tarfile.BLOCKSIZE)
        yield bytes(2 * tarfile.BLOCKSIZE)


def _header(entry: Entry, name: bytes, linked: bytes | None = None) -> bytes:
    info = tarfile.TarInfo(name.decode(errors="surrogateescape"))
    info.type = _TYPES[entry.type] if linked is None else tarfile.LNKTYPE
    info.mode, info.uid, info.gid = entry.mode, entry.uid, entry.gid
    info.size = entry.size if info.type == tarfile.REGTYPE else 0
    info.linkname = (linked or entry.target or b"").decode(errors="surrogateescape")
    info.devmajor, info.devminor = os.major(entry.rdev), os.minor(entry.rdev)
    seconds, rest = divmod(entry.mtime_ns, 10**9)
    info.pax_headers = {"mtime": f"{seconds}.{rest:09}" if seconds >= 0 else str(seconds)}
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
