"""The directory to mount on: whether it will do, and tuning what has been mounted there.

Rule: nothing a user has is hidden: a directory with something in it is refused.
"""

import os
from contextlib import suppress
from pathlib import Path

from zdiffsync.errors import UsageError
from zdiffsync.external.fuse import check_fuse, clean_stale

_READ_AHEAD = 1024  # KiB the kernel reads ahead; twice as fast as its default of 128


def prepare(directory: Path) -> Path:
    """Return the absolute path of a directory that can be mounted on; a dead mount there is removed.

    Raises UsageError naming what is wrong with it, ToolMissingError, ToolError.
    """
    check_fuse()
    directory = directory.absolute()
    clean_stale(directory)
    try:
        with os.scandir(directory) as found:
            if next(found, None) is not None:
                raise UsageError(f"{directory} is not empty; mount on an empty directory")
    except FileNotFoundError as error:
        raise UsageError(f"{directory} does not exist; make it with mkdir first") from error
    except NotADirectoryError as error:
        raise UsageError(f"{directory} is not a directory; mount on an empty directory") from error
    except OSError as error:
        raise UsageError(f"cannot mount on {directory}: {error.strerror}") from error
    return directory


def tune(directory: Path) -> None:
    """Let the kernel read further ahead in the file system mounted at `directory`, where it lets us."""
    with suppress(OSError):
        device = directory.stat().st_dev
        path = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
        path.write_text(f"{_READ_AHEAD}\n")
