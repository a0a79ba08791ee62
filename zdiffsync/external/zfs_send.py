"""`zfs send -i A B`: the stream behind the coverage certificate.

Read once per run, right after `zfs diff`. Rule: an unfinished or failed send certifies nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from zdiffsync.errors import IntegrityError
from zdiffsync.external.process import stream_tool
from zdiffsync.external.zfs import failure

_STALL = 900.0  # seconds without a byte


@contextmanager
def incremental_stream(old: str, new: str) -> Iterator[BinaryIO]:
    """Open the stream from snapshot `old` to `new`; leaving checks that `zfs send` ended well.

    Large blocks are sent whole (-L) and blocks as they lie on disk (-e -c), so nothing is decompressed.
    Raises ZfsPermissionError without `zfs allow send`, ZfsError, ToolStalledError; an IntegrityError of
    the body only when `zfs send` itself ended well.
    """
    arguments = ["send", "-L", "-e", "-c", "-i", old, new]
    with stream_tool(["zfs", *arguments], stall=_STALL) as running:
        broken: IntegrityError | None = None
        try:
            yield running.stdout
        except IntegrityError as error:
            broken = error  # a refused `zfs send` looks like a stream that ends early
        done = running.wait()
    if done.returncode:
        raise failure(arguments, done.stderr, done.returncode) from broken
    if broken is not None:
        raise broken
