"""What people and programs are told of an error that reaches the command line.

Behind cli.main, messages to people, and where one remote's failure is not to keep the others from their turn.
Rule: the words are those of zdiffsync.errors; here is only what click and -v add.
"""

import traceback

import click

from zdiffsync.errors import ZdiffsyncError, explained


def told(error: BaseException, *, verbose: bool = False) -> tuple[str, int]:
    """Return sentence and exit code; `verbose` prints the traceback of a bug to stderr."""
    if isinstance(error, click.Abort):
        error = KeyboardInterrupt()
    if verbose and not isinstance(error, (ZdiffsyncError, OSError, KeyboardInterrupt)):
        traceback.print_exception(error)
    return explained(error)
