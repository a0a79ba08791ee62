"""What people and programs are told of an error: one sentence, and the exit code of its class.

Behind cli.main, messages to people, and where one remote's failure is not to keep the others from their turn.
Rule: what nothing here knows is a bug, and never looks like success.
"""

import os
import traceback

import click

from zdiffsync.errors import ExitCode, ZdiffsyncError

INTERRUPTED = 130


def told(error: BaseException, *, verbose: bool = False) -> tuple[str, int]:
    """Return sentence and exit code; `verbose` prints the traceback of a bug to stderr."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return "interrupted; run it again to continue", INTERRUPTED
    if isinstance(error, ZdiffsyncError):
        return str(error), int(error.exit_code)
    if isinstance(error, OSError):
        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
        return f"{place}{error.strerror}", int(ExitCode.BUG)
    if verbose:
        traceback.print_exception(error)
    return f"bug: {type(error).__name__}: {error}; run with -v and report it", int(ExitCode.BUG)
