"""Uploading staged objects through rclone-python, each verified afterwards by its caller's listing.

Behind store.Area.upload. Rule: an upload ends within a bounded silence, and leaves no process behind.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from zdiffsync.errors import RemoteError, ToolStalledError
from zdiffsync.external.process import stream_tool
from zdiffsync.external.rclone_env import RcloneSetup, last_line

_STALL = 1800.0  # seconds in which not one byte moves; rclone's own retries and back-off come first
_SUMMARY = re.compile(r"Attempt \d+/\d+ |Can't retry ")  # what rclone says after it has named the cause
_NAME = re.compile(r"[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)*")


def check_name(name: str) -> str:
    """Return `name` if it can be an object's. Raises ValueError for one outside [A-Za-z0-9._/-]."""
    if not _NAME.fullmatch(name) or any(part in {".", ".."} for part in name.split("/")):
        raise ValueError(f"{name!r} is no object name: only letters, digits and . _ / - are allowed")
    return name


def upload(
    setup: RcloneSetup, fs: str, stage: Path, names: Sequence[str], progress: Callable[[int], None]
) -> None:
    """Copy `names` from the folder `stage` to the same names under `fs`, never changing an object.

    `progress` gets the bytes moved since it was called last. rclone skips what is missing in `stage`
    without an error, so the caller looks at the result. Raises RemoteError with rclone's last error.
    """
    with TemporaryDirectory(prefix="zdiffsync-") as folder:
        listing = os.path.join(folder, "names")
        Path(listing).write_text("".join(f"{check_name(name)}\n" for name in names), encoding="ascii")
        argv = [sys.executable, "-P", "-m", "zdiffsync.external.rclone_worker", fs, listing]
        errors: list[str] | None = None
        sent = 0
        try:
            with stream_tool(argv, stall=_STALL, env=setup.environment, cwd=stage) as running:
                for line in running.stdout:
                    message = json.loads(line)
                    errors = message.get("errors")
                    with suppress(KeyError):
                        progress(max(0, message["sent"] - sent))
                        sent = max(sent, message["sent"])
                done = running.wait()
        except ToolStalledError as error:
            raise RemoteError(
                f"{setup.remote}: the upload stood still for {_STALL:g} s; try again"
            ) from error
    if errors is None:
        raise RemoteError(f"{setup.remote}: the upload broke off: {last_line(done.stderr)}")
    if errors or done.returncode:
        said = [line for line in errors if not _SUMMARY.match(line)] or errors
        why = said[-1] if said else "rclone was ended before it was done"
        raise RemoteError(f"{setup.remote}: the upload failed: {why}")
