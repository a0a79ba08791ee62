"""The door to systemd: units installed, started by their timer, asked for what they did, and removed.

Behind `zdiffsync schedule`. Rule: a unit file is verified before it is put in place, where systemd can do so.
"""

import os
import pwd
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from zdiffsync.errors import ToolError, UsageError
from zdiffsync.external.process import Completed, run_tool

_TIMEOUT = 60.0  # seconds
_SYSTEM_UNITS = Path("/etc/systemd/system")
_LINGERING = Path("/var/lib/systemd/linger")


def booted() -> bool:
    """Return whether systemd runs this machine (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def moment(shown: str) -> int | None:
    """Return a time that `Manager.show` gave in ns since 1970, None where there is none."""
    _weekday, _, time = shown.removesuffix(" UTC").partition(" ")
    try:
        return int(datetime.fromisoformat(f"{time}+00:00").timestamp()) * 10**9
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Manager:
    """The system's systemd, or with `user` the one of the user who runs us."""

    user: bool

    @property
    def folder(self) -> Path:
        """Where an administrator's (or the user's own) units lie."""
        if not self.user:
            return _SYSTEM_UNITS
        return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd/user"

    def install(self, units: Mapping[str, str], timer: str) -> None:
        """Put unit files (text by name) in place and start `timer`, now and at each boot.

        Raises UsageError for units that systemd does not accept, ToolError.
        """
        self.verify(units)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, text in units.items():
                (self.folder / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise ToolError(f"cannot write {error.filename}: {error.strerror}") from error
        self._systemctl("daemon-reload")
        self._systemctl("enable", timer)
        self._systemctl("restart", timer)

    def verify(self, units: Mapping[str, str]) -> None:
        """Let systemd read the units first. Raises UsageError with its words."""
        if shutil.which("systemd-analyze") is None:
            return
        with TemporaryDirectory(prefix="zdiffsync-") as folder:
            paths = [Path(folder, name) for name in units]
            for path, text in zip(paths, units.values(), strict=True):
                path.write_text(text, encoding="utf-8")
            scope = "--user" if self.user else "--system"
            done = run_tool(
                ["systemd-analyze", scope, "--man=no", "verify", *map(str, paths)], timeout=_TIMEOUT
            )
        said = [line for line in os.fsdecode(done.stderr).splitlines() if any(n in line for n in units)]
        if done.returncode and said:  # without a word of our units, others on this machine are at fault
            raise UsageError(f"systemd does not accept the units: {said[0].removeprefix(folder + '/')}")

    def remove(self, units: Sequence[str], timer: str) -> bool:
        """Stop `timer` and delete the unit files; return whether there was anything. Raises ToolError."""
        present = [self.folder / name for name in units if (self.folder / name).exists()]
        if not present:
            return False
        self._systemctl("disable", "--now", timer)
        for path in present:
            path.unlink()
        self._systemctl("daemon-reload")
        return True

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Return properties of a unit as systemd words them; see `moment` for times. Raises ToolError."""
        shown = self._systemctl("show", f"--property={','.join(properties)}", unit).stdout
        lines = os.fsdecode(shown).splitlines()
        return dict(line.partition("=")[::2] for line in lines)

    def lingers(self) -> bool:
        """Return whether a user's units run while the user is not logged in."""
        return not self.user or (_LINGERING / pwd.getpwuid(os.getuid()).pw_name).exists()

    def _systemctl(self, *arguments: str) -> Completed:
        scope = "--user" if self.user else "--system"
        # Not every version has --timestamp=unix, and none has it for all times: see `moment`.
        done = run_tool(["systemctl", scope, *arguments], timeout=_TIMEOUT, env={"TZ": "UTC"})
        if done.returncode:
            words = " ".join(os.fsdecode(done.stderr).split()) or f"exit code {done.returncode}"
            raise ToolError(f"systemctl {' '.join(arguments)} failed: {words}")
        return done
