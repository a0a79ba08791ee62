"""FUSE's own tools: cleaning away what a mount whose process died has left.

Rule: only a mount that answers nothing any more is taken away.
"""

import errno
import os
import shutil
from pathlib import Path

from zdiffsync.errors import ToolError, ToolMissingError
from zdiffsync.external.mounts import mounted
from zdiffsync.external.process import run_tool

_DEVICE = Path("/dev/fuse")
_TIMEOUT = 30.0  # seconds


def check_fuse() -> None:
    """Raise ToolMissingError when this machine cannot mount."""
    if not _DEVICE.exists():
        raise ToolMissingError(f"this machine has no {_DEVICE}; run modprobe fuse as root")
    if shutil.which("fusermount3") is None:
        raise ToolMissingError("fusermount3 is not installed; install fuse3")


def clean_stale(directory: Path) -> bool:
    """Unmount what a dead process has left at `directory`; return whether there was something.

    Raises ToolError when it cannot be unmounted.
    """
    if not _is_dead(directory):
        return False
    done = run_tool(["fusermount3", "-u", "-z", os.fsencode(directory)], timeout=_TIMEOUT)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise ToolError(f"the dead mount at {directory} cannot be unmounted: {said}")
    return True


def _is_dead(directory: Path) -> bool:
    try:
        os.statvfs(directory)  # which the kernel does not answer by itself, as it does stat for a while
    except OSError as error:
        return error.errno in {errno.ENOTCONN, errno.ECONNABORTED}
    return False


def dead_mounts() -> list[str]:
    """Return the directories where mounts of ours are whose process has died."""
    ours = [os.fsdecode(directory) for _, directory in mounted(b"fuse.zdiffsync")]
    return [directory for directory in ours if _is_dead(Path(directory))]
