"""`restic ls`: every path below a directory of a base, byte for byte.

The fast way to see what a base holds. `ls --json` shows bytes that are not UTF-8 as U+FFFD; plain `ls`
prints them raw but leaves a newline in a name ambiguous. Both print the same nodes in the same order, so
from the first doubtful name on they are read side by side. Rule: a name is either exact or an error.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO

import msgspec

from zdiffsync.errors import IntegrityError
from zdiffsync.external.restic_node import ListedNode, ListedRecord
from zdiffsync.external.restic_run import ResticRunner
from zdiffsync.external.restic_transfer import shown


def listing(runner: ResticRunner, place: bytes) -> Iterator[tuple[bytes, ListedNode]]:
    """Yield (path, node) of everything below `place` ("ID:path"), directories before what they hold.

    Paths are relative to `place`. Raises IntegrityError for a record that does not parse, ResticError,
    RemoteError; abandoning the iterator ends restic.
    """
    with ExitStack() as stack:
        nodes = stack.enter_context(runner.stream("ls", "--json", "--no-lock", place))
        streams = [nodes]
        raw: _RawPaths | None = None
        lines = 0
        for line in nodes.stdout:
            record = _decode(line)
            shown_path = record.path
            if not shown_path:
                continue
            # A newline at the end is doubtful too: some restic versions print no second one after it.
            if raw is None and ("\ufffd" in shown_path or shown_path.endswith("\n")):
                plain = stack.enter_context(runner.stream("ls", "--quiet", "--no-lock", place))
                streams.append(plain)
                raw = _RawPaths(plain.stdout, skip=lines)
            lines += shown_path.count("\n") + 1
            path = raw.read(shown_path) if raw else shown_path.encode()
            yield path.removeprefix(b"/"), record.node()
        for running in streams:
            done = running.wait()
            if done.returncode:
                raise runner.failure("ls", done)


def _decode(line: bytes) -> ListedRecord:
    try:
        return msgspec.json.decode(line, type=ListedRecord)
    except msgspec.DecodeError as error:
        raise IntegrityError(f"restic's listing does not parse ({error})") from error


class _RawPaths:
    """The paths plain `restic ls` prints, after the first `skip` lines."""

    def __init__(self, stream: BinaryIO, *, skip: int) -> None:
        self._stream = stream
        for _ in range(skip):
            stream.readline()
        self._ahead = stream.readline()

    def read(self, path: str) -> bytes:
        """Return the bytes of the next path, which JSON shows as `path`."""
        found = b""
        for _ in range(path.count("\n") + (not path.endswith("\n"))):
            found += self._ahead
            self._ahead = self._stream.readline()
        if path.endswith("\n"):
            if self._ahead == b"\n":  # no path begins like this
                self._ahead = self._stream.readline()
        else:
            found = found.removesuffix(b"\n")
        if shown(found) != path:
            raise IntegrityError(f"restic lists {path!r} in two different ways; run zdiffsync check")
        return found
