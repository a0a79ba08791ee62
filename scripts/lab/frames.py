"""The one serial line between this machine and the lab, cut into frames.

Flow: init.py says HELLO, launch.py sends JOB; then STDIN… one way, READY, STDOUT, STDERR…, EXIT the other.
Rule: both ends speak only through this module, so a byte on the line always belongs to a frame.
"""

from __future__ import annotations

import enum
import os
import struct
from dataclasses import dataclass

HEADER = struct.Struct(">BI")


class Kind(enum.IntEnum):
    """What a frame carries."""

    HELLO = 1  # from the lab: it listens
    JOB = 2  # to the lab: JSON of a Job
    READY = 3  # from the lab: the command runs
    STDIN = 4  # to the lab: path of a file with bytes for the command
    STDIN_END = 5  # to the lab: end of the command's input
    STDIN_TAKEN = 6  # from the lab: one such file is used up
    STDOUT = 7  # from the lab: bytes the command wrote
    STDERR = 8  # from the lab: bytes the command wrote
    FAILED = 9  # from the lab: why the command could not be started, UTF-8
    EXIT = 10  # from the lab, last: exit code in ASCII digits


@dataclass(frozen=True, slots=True)
class Job:
    """What the lab is to run, and where."""

    argv: list[str]
    cwd: str
    env: dict[str, str]
    modules: list[str]  # kernel modules in the order to load them
    visible: list[str]  # directories of this machine that a fresh tmpfs must not hide
    systemd: bool = False  # whether systemd becomes process 1, over an /etc and /var of the lab's own


def send(fd: int, kind: Kind, payload: bytes = b"") -> None:
    """Write one frame to `fd`, blocking until the line took all of it; raises OSError."""
    write_all(fd, HEADER.pack(kind, len(payload)) + payload)


def write_all(fd: int, data: bytes) -> None:
    """Write `data` to a blocking descriptor to its last byte; raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def receive(fd: int) -> tuple[Kind, bytes] | None:
    """Read one frame from `fd`; None when the other end is gone."""
    header = _exactly(fd, HEADER.size)
    if header is None:
        return None
    kind, length = HEADER.unpack(header)
    payload = _exactly(fd, length)
    return None if payload is None else (Kind(kind), payload)


def _exactly(fd: int, length: int) -> bytes | None:
    data = bytearray()
    while len(data) < length:
        try:
            part = os.read(fd, length - len(data))
        except OSError:  # EIO or ECONNRESET: the line hung up
            return None
        if not part:
            return None
        data += part
    return bytes(data)
