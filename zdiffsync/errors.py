"""The one tree of errors, the one table of exit codes, and what is told of any error.

Every layer raises these; the command line prints one sentence and leaves with the exit code.
Rule: a message is one sentence that says what, where, and what to do; what nothing here knows is a bug.
"""

import os
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells its caller (documented in docs/cli.md)."""

    DONE = 0
    BUG = 1
    USAGE = 2
    INCOMPLETE = 3
    TOOL = 4
    REMOTE = 5
    CATALOG = 6
    CHAIN = 7
    LOCKED = 11
    INTEGRITY = 90


INTERRUPTED = 130  # after Ctrl-C or SIGTERM, as shells have it


class ZdiffsyncError(Exception):
    """Anything zdiffsync reports on purpose; the base of the tree."""

    exit_code = ExitCode.BUG


class UsageError(ZdiffsyncError):
    """A command line, configuration or name that cannot be acted on."""

    exit_code = ExitCode.USAGE


class ConfigError(UsageError):
    """The configuration file is missing, unreadable or wrong."""


class StagingError(UsageError):
    """What waits for its upload cannot be written; mostly because the disk is full."""


class ToolError(ZdiffsyncError):
    """An external tool (zfs, restic, rclone) failed, is missing or is too old."""

    exit_code = ExitCode.TOOL


class ToolMissingError(ToolError):
    """A tool is not installed, or too old to do what is asked of it."""


class ToolStalledError(ToolError):
    """A tool made no progress within its time limit and was ended."""


class ZfsError(ToolError):
    """`zfs` refused or failed."""


class ZfsPermissionError(ZfsError):
    """The user lacks a delegated ZFS permission."""


class NoSuchDatasetError(ZfsError):
    """A dataset or snapshot does not exist."""


class ResticError(ToolError):
    """`restic` refused or failed."""


class RemoteError(ZdiffsyncError):
    """The remote cannot be reached, read or written."""

    exit_code = ExitCode.REMOTE


class ObjectMissingError(RemoteError):
    """An object that should be on the remote is not there."""


class CatalogError(ZdiffsyncError):
    """The local catalog is unreadable, damaged or of another version."""

    exit_code = ExitCode.CATALOG


class ChainError(ZdiffsyncError):
    """A chain is broken: a point's predecessor, snapshot or content is not what it should be."""

    exit_code = ExitCode.CHAIN


class LockedError(ZdiffsyncError):
    """Another zdiffsync process works on the same state."""

    exit_code = ExitCode.LOCKED


class IntegrityError(ZdiffsyncError):
    """Bytes do not match their digest, or a stored structure does not parse."""

    exit_code = ExitCode.INTEGRITY


class WrongPasswordError(UsageError):
    """The password does not open this repository."""


def explained(error: BaseException) -> tuple[str, int]:
    """Return what to tell of an error, in one sentence, and the exit code."""
    if isinstance(error, ZdiffsyncError):
        return str(error), int(error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; run it again to continue", INTERRUPTED
    if isinstance(error, OSError):
        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
        return f"{place}{error.strerror or str(error) or type(error).__name__}", int(ExitCode.BUG)
    return f"bug: {type(error).__name__}: {error}; run with -v and report it", int(ExitCode.BUG)


def named(code: int) -> str:
    """Return an exit code with its name, as "5 (remote)"."""
    return f"{code} ({ExitCode(code).name.lower()})" if code in set(ExitCode) else str(code)
