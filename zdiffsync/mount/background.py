"""Going to the background: the command returns once the mount is there, or with the error that kept it.

Rule: the process splits before anything is opened or any thread started, so nothing has to survive it.
"""

import logging
import os
import sys
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path

_LOG_BYTES = 1 << 20
_FORMAT = "%(asctime)s %(levelname)s %(message)s"


def split() -> int | None:
    """Split the process: the parent gets the exit code to leave with, the child None.

    The parent waits until the child says `settled`, which is exit code 0, or has ended by itself.
    """
    heard, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(heard)
        os.setsid()
        _pipes.append(told)
        return None
    os.close(told)
    with open(heard, "rb") as pipe:
        if pipe.read(1):
            return 0
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


_pipes: list[int] = []  # where the parent listens, while it does


def settled() -> None:
    """Let the parent go, and the terminal with it. In the foreground: nothing."""
    if not _pipes:
        return
    sys.stdout.flush()
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    os.close(null)
    os.chdir("/")
    told = _pipes.pop()
    os.write(told, b"1")
    os.close(told)


def log_to(path: Path | None) -> Callable[[], None]:
    """Send the mount's log to a private file that does not grow without end, or (None) to stderr.

    Returns what ends that.
    """
    handler: logging.Handler
    if path is None:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("zdiffsync: %(message)s"))
    else:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        handler = RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=1)
        handler.setFormatter(logging.Formatter(_FORMAT))
    log = logging.getLogger("zdiffsync.mount")
    log.addHandler(handler)
    log.propagate = False

    def end() -> None:
        log.removeHandler(handler)
        handler.close()

    return end
