"""A hook: a shell command of the user's around a run, with all it said.

Rule: the shell gets the user's words as they are; ours go by environment only.
"""

import os
import subprocess
from collections.abc import Mapping
from tempfile import TemporaryFile

from zdiffsync.external.process import start_tool

_KEPT = 1 << 16  # bytes of output, the last ones


def run_hook(command: str, environment: Mapping[str, str], timeout: float) -> tuple[str, str | None]:
    """Run `command` in sh, at most `timeout` seconds long, then it is ended.

    Returns what it said (both streams, the last 64 KiB) and, where it failed, why. What it leaves running in
    the background is not waited for. Raises ToolMissingError, ToolError when it cannot be started.
    """
    # A file and not a pipe: a process that is left in the background would keep a pipe open.
    with TemporaryFile() as output:
        with start_tool(["sh", "-c", command], env=environment, output=output.fileno()) as child:
            try:
                code = child.wait(timeout)
                failure = None if code == 0 else _ended(code)
            except subprocess.TimeoutExpired:
                failure = f"did not end within {timeout:g} s and was stopped"
        output.seek(max(0, output.seek(0, os.SEEK_END) - _KEPT))
        return output.read().decode(errors="replace").strip(), failure


def _ended(code: int) -> str:
    return f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"
