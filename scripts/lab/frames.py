"""The one serial line between this machine and the lab, cut into frames.

Flow: init.py says HELLO, launch.py sends JOB, then STDIN… and STDIN_END; init.py answers READY, STDOUT/STDERR… and last EXIT.
Rule: both ends speak only through this module, so a byte on the line always belongs to a frame.
"""

from __future__ import annotations

import enum
import os
import struct
from dataclasses import dataclass

HEADER = struct.Struct(">BI")
CHUNK = 64 * 1024  # bytes of payload per frame: as much as a pipe holds


class Kind(enum.IntEnum):
    """What a frame carries."""

    HELLO = 1  # from the lab: it listens
    JOB = 2  # to the lab: JSON of a Job
    STDIN = 3  # to the lab: bytes for the command
    STDIN_END = 4  # to the lab: end of the command's input
    READY = 5  # from the lab: the command runs
    STDOUT = 6  # from the lab: bytes the command wrote
    STDERR = 7  # from the lab: bytes the command wrote
    FAILED = 8  # from the lab: why the command could not be started, UTF-8
    EXIT = 9  # from the lab, last: exit code in ASCII digits


@dataclass(frozen=True, slots=True)
class Job:
    """What the lab is to run, and where."""

    argv: list[str]
    cwd: str
    env: dict[str, str]
    modules: list[str]  # kernel modules in the order to load them
    visible: list[str]  # directories of this machine that a fresh tmpfs must not hide


def send(fd: int, kind: Kind, payload: bytes = b"") -> None:
    """Write one frame to `fd`, blocking until the line took all of it."""
    data = memoryview(HEADER.pack(kind, len(payload)) + payload)
    while data:
        data = data[os.write(fd, data) :]


def receive(fd: int) -> tuple[Kind, bytes] | None:
    """Read one frame from `fd`; None when the other end is gone."""
    header = _exactly(fd, HEADER.size)
    if header is None:
        return None
    kind, length = HEADER.unpack(header)
    payload = _exactly(fd, length)
    return None if payload is None else (Kind(kind), payload)


def _exactly(fd: int, length: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < length:
        try:
            data = os.read(fd, length - len(parts))
        except OSError:  # EIO or ECONNRESET: the line hung up
            return None
        if not data:
            return None
        parts += data
    return bytes(parts)
