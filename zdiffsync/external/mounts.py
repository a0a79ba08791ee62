"""What is mounted, as the kernel tells. Rule: bytes, with its escapes undone."""

import re
from collections.abc import Iterator
from pathlib import Path


def mounted(kind: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield source and directory of each mount of a file system type (proc_pid_mounts(5))."""
    for line in Path("/proc/self/mounts").read_bytes().splitlines():
        source, target, found, *_ = line.split(b" ")
        if found == kind:
            yield _unescaped(source), _unescaped(target)


def _unescaped(field: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), field)
