"""Uploading through rclone-python, the one adapter that knows its traps.

Its commands go through a shell, so only our own object names and environment remotes reach it; it
forgets exit codes and missing files, so the store verifies every object afterwards; it prints
through rich, so that is silenced. Rule: nothing but [a-z0-9._/-] names an object.
"""

import logging
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from rclone_python import rclone
from rclone_python.utils import RcloneException

from zdiffsync.errors import RemoteError
from zdiffsync.external.rclone_env import define_folder

_OBJECT_NAME = re.compile(r"[a-z0-9][a-z0-9._/-]*")

logging.getLogger("rclone_python").setLevel(logging.CRITICAL)
rclone.set_log_level(logging.CRITICAL)


def upload(
    folder: Path,
    names: Sequence[str],
    destination: str,
    progress: Callable[[int], None],
    *,
    transfers: int,
    bwlimit: str | None,
) -> None:
    """Copy `names` (relative to `folder`) to the environment remote `destination`.

    `progress` is told the bytes sent since it was last told. Raises RemoteError with rclone's last word.
    Does not notice a file that is missing at the source: the caller verifies.
    """
    for name in names:
        if not _OBJECT_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no object name")
    source = define_folder(folder)
    source.install()
    counter = _Counter(progress)
    try:
        with NamedTemporaryFile("w", prefix="zdiffsync-names-") as listing:
            listing.write("\n".join(names) + "\n")
            listing.flush()
            arguments = [
                "--files-from-raw", shlex.quote(listing.name), "--no-traverse", "--immutable",
                "--transfers", str(transfers), "--retries", "3", "--low-level-retries", "10",
            ]  # fmt: skip
            if bwlimit is not None:
                arguments += ["--bwlimit", shlex.quote(bwlimit)]
            rclone.copy(source.plain, destination, show_progress=False, listener=counter, args=arguments)
    except RcloneException as error:
        said = (error.error_msg or "").strip().splitlines()
        raise RemoteError(f"upload failed: {said[-1] if said else error.description}") from error
    finally:
        source.remove()


class _Counter:
    """Turns rclone's running totals into steps; never raises, or the rclone child would be orphaned."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self._progress = progress
        self._told = 0

    def __call__(self, update: dict[str, Any]) -> None:
        sent = int(update.get("sent") or 0)
        if sent > self._told:
            self._progress(sent - self._told)
            self._told = sent
