"""What people and programs are told of an error: one sentence, and the exit code of its class.

Behind cli.main, and where one remote's failure is not to keep the others from their turn.
Rule: what nothing here knows is a bug, and never looks like success.
"""

import os
import traceback

from zdiffsync.errors import ExitCode, ZdiffsyncError


def told(error: Exception, *, verbose: bool) -> tuple[str, int]:
    """Return sentence and exit code; `verbose` prints the traceback of a bug to stderr."""
    if isinstance(error, ZdiffsyncError):
        return str(error), int(error.exit_code)
    if isinstance(error, OSError):
        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
        return f"{place}{error.strerror}", int(ExitCode.BUG)
    if verbose:
        traceback.print_exception(error)
    return f"bug: {type(error).__name__}: {error}; run with -v and report it", int(ExitCode.BUG)
