"""The upload engine's own process: rclone-python at work, its progress as JSON lines on stdout.

Started by rclone_upload with the staging folder as working directory. rclone-python runs rclone
through a shell, takes remotes from the process-wide environment, prints through rich, gives no handle
to its child and leaves it running after an error; in a process of its own none of that reaches us,
and ending the process group ends the upload.
Rule: everything the shell sees is quoted or constant, and the listener never raises.

Arguments: the destination (`zddata:` or `zdplain:`) and the file that lists the objects to copy.
"""

import json
import logging
import shlex
import sys
from typing import Any

from rclone_python import rclone
from rclone_python.utils import RcloneException


class Listener:
    """Passes on what changes, and only that: silence means that nothing moves."""

    def __init__(self) -> None:
        self._last: tuple[int, int, int] | None = None

    def __call__(self, update: dict[str, Any]) -> None:
        """Print one update of rclone-python (`sent` in bytes)."""
        stats = update.get("rclone_output", {})
        state = (int(update.get("sent", 0)), int(stats.get("checks", 0)), int(stats.get("errors", 0)))
        if state != self._last:
            self._last = state
            _say({"sent": state[0]})


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)  # noqa: T201 - stdout is this process's channel


def main() -> int:
    """Copy the listed files of the working directory; the last line says how it ended."""
    destination, listing = sys.argv[1:]
    rclone.set_log_level(logging.CRITICAL)
    try:
        rclone.copy(
            ".",
            destination,
            show_progress=False,
            listener=Listener(),
            args=["--files-from-raw", shlex.quote(listing), "--no-traverse", "--immutable"],
        )
    except RcloneException as error:
        _say({"errors": error.error_msg.splitlines()})
        return 1
    _say({"errors": []})
    return 0


if __name__ == "__main__":
    sys.exit(main())
