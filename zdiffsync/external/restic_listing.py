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
from zdiffsync.external.process import RunningTool
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
        raw: tuple[RunningTool, _RawPaths] | None = None
        lines = 0
        for line in nodes.stdout:
            record = _decode(line)
            if not record.path:
                continue
            if "\ufffd" in record.path:
                if raw is None:
                    plain = stack.enter_context(runner.stream("ls", "--quiet", "--no-lock", place))
                    raw = plain, _RawPaths(plain.stdout)
                path = raw[1].at(lines, record.path)
            else:
                path = record.path.encode()
            lines += record.path.count("\n") + 1
            yield path.removeprefix(b"/"), record.node()
        for running in [nodes, *([raw[0]] if raw else [])]:
            done = running.wait()
            if done.returncode:
                raise runner.failure("ls", done)


def _decode(line: bytes) -> ListedRecord:
    try:
        return msgspec.json.decode(line, type=ListedRecord)
    except msgspec.DecodeError as error:
        raise IntegrityError(f"restic's listing does not parse ({error})") from error


class _RawPaths:
    """The paths of plain `restic ls`, found by the number of the line they begin on."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._line = 0

    def at(self, line: int, path: str) -> bytes:
        """Return the bytes of the path that begins on `line` and that JSON shows as `path`."""
        while self._line < line:
            self._read()
        found = b"".join(self._read() for _ in range(path.count("\n") + 1)).removesuffix(b"\n")
        if shown(found) != path:
            raise IntegrityError(f"restic lists {path!r} in two different ways; run zdiffsync check")
        return found

    def _read(self) -> bytes:
        self._line += 1
        return self._stream.readline()
