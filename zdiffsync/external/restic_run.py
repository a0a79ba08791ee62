"""Starting restic: its environment, its version, and what its exit codes and last words mean.

Below every command of the restic door. Rule: the repository, the password file and the remotes travel in
the environment, and whatever RESTIC_* the user has set for himself does not.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import TypeVar

import msgspec

from zdiffsync.errors import (
    IntegrityError,
    LockedError,
    RemoteError,
    ResticError,
    ToolMissingError,
    WrongPasswordError,
    ZdiffsyncError,
)
from zdiffsync.external.process import Completed, Directory, RunningTool, run_tool, stream_tool
from zdiffsync.external.rclone_env import find_rclone

Result = TypeVar("Result")

OLDEST = (0, 18)
QUICK = 3600.0  # seconds; restic itself retries a failing remote for a quarter of an hour
_VERSION_TIMEOUT = 60.0
_PAUSE = 10.0  # seconds between two tries to get a lock
NO_REPOSITORY = 10
_LOCKED, _WRONG_PASSWORD = 11, 12
_VERSION = re.compile(r"restic (\d+)\.(\d+)(?:\.(\d+))?")
_DAMAGE = re.compile(
    r"ciphertext verification failed|invalid data returned|does not match|"
    r"partial out of bounds|hash mismatch|decrypting blob|not found in (?:the )?(?:index|repository)",
    re.IGNORECASE,
)
_FINDINGS = re.compile(rb'"num_errors":[1-9]')
_RCLONE_FAILURE = re.compile(
    r"^rclone: \S+ \S+ (?:ERROR|CRITICAL|Fatal\w*|Failed)\b\s*:?\s*(.*)$", re.MULTILINE
)
_REMOTE = re.compile(r"rclone|HTTP|server response|connection|stdio|context deadline")


class _Detail(msgspec.Struct):
    message: str = ""


class _Complaint(msgspec.Struct):
    message_type: str = ""
    message: str = ""
    error: _Detail = msgspec.field(default_factory=_Detail)
    item: str = ""


def complaints(stderr: bytes, kind: str) -> Iterator[_Complaint]:
    """Yield restic's JSON messages of one type ("error", "exit_error") among the lines of its stderr."""
    for line in stderr.splitlines():
        if line.startswith(b"{"):
            try:
                found = msgspec.json.decode(line, type=_Complaint)
            except msgspec.DecodeError:  # a line cut off when only the end of stderr was kept
                continue
            if found.message_type == kind:
                yield found


class ResticRunner:
    """Runs restic commands on one repository; the arguments are those of class Restic."""

    def __init__(
        self,
        repository: str,
        password_file: Path,
        cache_dir: Path,
        *,
        environment: Mapping[str, str],
        binary: str | None,
        rclone_program: str | None,
        bwlimit: str | None,
        transfers: int | None,
    ) -> None:
        self.repository = repository
        self._binary = binary or "restic"
        self._rclone = rclone_program
        self._transfers = transfers
        self._version: tuple[int, ...] | None = None
        self._environment = {
            **environment,
            "RESTIC_REPOSITORY": repository,
            "RESTIC_PASSWORD_FILE": str(password_file),
            "RESTIC_CACHE_DIR": str(cache_dir),
            # Snapshots of one dataset have different device numbers: without this every directory is
            # stored anew each time.
            "RESTIC_FEATURES": "device-id-for-hardlinks=true",
            "RESTIC_PROGRESS_FPS": "2",
            # Times are stored with their zone: the clock change would alter every directory.
            "TZ": "UTC",
            # Go trusts PWD when it leads to the same place; patterns need the one true path.
            "PWD": "",
        }
        if bwlimit is not None:
            self._environment["RCLONE_BWLIMIT"] = bwlimit

    def version(self) -> tuple[int, ...]:
        """Return (major, minor, patch). Raises ToolMissingError when restic is missing or too old."""
        if self._version is None:
            done = run_tool([self._binary, "version"], timeout=_VERSION_TIMEOUT, env=self._variables())
            match = _VERSION.match(done.stdout.decode(errors="replace"))
            if match is None:
                raise ToolMissingError(
                    f"{self._binary} does not say which restic it is; install restic 0.18 or newer"
                )
            version = tuple(int(number or 0) for number in match.groups())
            if version < OLDEST:
                raise ToolMissingError(
                    f"{self._binary} is restic {match[0].split()[1]}, too old for zdiffsync; install 0.18 or "
                    "newer: on Debian 12 add trixie as a source, pin it at -10 and restic from it at 990, "
                    "then apt-get install restic"
                )
            self._version = version
        return self._version

    def attempt(
        self, *arguments: str | bytes, timeout: float = QUICK, cwd: Directory | None = None
    ) -> Completed:
        """Run a command to its end, `timeout` in seconds; the exit code is the caller's to judge."""
        return run_tool(self._argv(arguments), timeout=timeout, env=self._variables(), cwd=cwd)

    def run(self, *arguments: str | bytes) -> bytes:
        """Run a command to its end and return its stdout. Raises what `failure` makes of it."""
        done = self.attempt(*arguments)
        if done.returncode:
            raise self.failure(arguments[0], done)
        return done.stdout

    @contextmanager
    def stream(
        self, *arguments: str | bytes, stall: float = QUICK, cwd: Directory | None = None
    ) -> Iterator[RunningTool]:
        """Start a command to be read while it runs; the exit code is the caller's to judge."""
        with stream_tool(self._argv(arguments), stall=stall, env=self._variables(), cwd=cwd) as running:
            yield running

    def unlocking(self, action: Callable[[], Result], *, patience: float = 0.0) -> Result:
        """Do something that needs a lock, once more after removing the locks of dead processes.

        restic removes only stale locks here: those of ended processes of this host, or half an hour old.
        Another host's is waited for, at most `patience` seconds.
        """
        try:
            return action()
        except LockedError:
            self.run("unlock")
        end = monotonic() + patience
        while True:
            try:
                return action()
            except LockedError:
                if monotonic() >= end:
                    raise
                sleep(_PAUSE)

    def failure(self, command: str | bytes, done: Completed) -> ZdiffsyncError:
        """Translate a failed command: a typed error with restic's own last words."""
        where = self.repository
        words = _last_words(done.stderr)
        if done.returncode == _WRONG_PASSWORD:
            return WrongPasswordError(
                f"the password in {self._environment['RESTIC_PASSWORD_FILE']} does not open the restic "
                f"repository {where}"
            )
        if done.returncode == NO_REPOSITORY:
            return ResticError(f"there is no restic repository at {where}; run zdiffsync init")
        if done.returncode == _LOCKED:
            return LockedError(f"the restic repository {where} is locked by another process: {words}")
        text = f"restic {os.fsdecode(command)} failed on {where}: {words}"
        if _FINDINGS.search(done.stdout) and not _REMOTE.search(words.replace(where, "")):
            return IntegrityError(f"{text}; run zdiffsync repair")
        if _DAMAGE.search(words):
            return IntegrityError(f"{text}; run zdiffsync check")
        rclone = _RCLONE_FAILURE.findall(done.stderr.decode(errors="replace"))
        if rclone or _REMOTE.search(words.replace(where, "")):
            return RemoteError(f"{text} ({rclone[-1]})" if rclone else text)
        return ResticError(text)

    def _argv(self, arguments: Sequence[str | bytes]) -> list[str | bytes]:
        self.version()
        # restic reads this as a line of CSV first, then splits the value like a shell.
        zone = f"'TZ={os.environ['TZ']}'" if "TZ" in os.environ else "-u TZ"
        # rclone's timetable for bandwidth is in local time, and restic itself runs in UTC.
        options = ["-o", f"\"rclone.program=env {zone} '{self._rclone or find_rclone()}'\""]
        if self._transfers is not None:
            options += ["-o", f"rclone.connections={self._transfers}"]
        return [self._binary, *options, *arguments]

    def _variables(self) -> dict[str, str]:
        inherited = {name: "" for name in os.environ if name.startswith("RESTIC_")}
        return inherited | self._environment


def _last_words(stderr: bytes) -> str:
    message = ""
    for found in complaints(stderr, "exit_error"):
        message = found.message
    if not message:
        lines = [line.strip() for line in stderr.decode(errors="replace").splitlines()]
        ours = [line for line in lines if line and not line.startswith("rclone: ")]
        message = (ours or lines or [""])[-1]
    if "contains errors" in message:  # which ones, `check` says before
        findings = (found.message.strip() for found in complaints(stderr, "error"))
        message = next((each for each in findings if each and not each.startswith("rclone: ")), message)
    return message.replace("Fatal: ", "").strip().split("\n")[0] or "it gave no reason"
