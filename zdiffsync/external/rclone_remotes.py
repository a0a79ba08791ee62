"""What rclone knows of remotes: which ones its configuration names, and what the opened one can do.

Asked by `init` and `doctor` only: backups need none of it. Rule: names, types and abilities; never a
remote's other settings, which can be secrets.
"""

from dataclasses import dataclass

from zdiffsync.errors import RemoteError, ToolError
from zdiffsync.external.process import run_tool
from zdiffsync.external.rclone_daemon import RcloneDaemon
from zdiffsync.external.rclone_env import PLAIN, find_rclone, last_line

_TIMEOUT = 60.0  # seconds; no network is touched
_COARSE = 10**17  # ns; rclone's precision for a remote that keeps no times is a hundred years


@dataclass(frozen=True, slots=True)
class ConfiguredRemote:
    """One remote of rclone's configuration: `name` without the colon, `kind` such as "onedrive"."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a remote can do. `hashes` by rclone's names; `folders`: empty ones can exist there."""

    hashes: tuple[str, ...]
    keeps_times: bool
    case_insensitive: bool
    folders: bool
    local: bool
    tells_space: bool


def configured_remotes() -> list[ConfiguredRemote]:
    """List the remotes of rclone's configuration and environment.

    Raises ToolMissingError, and ToolError when the configuration cannot be read.
    """
    done = _rclone("listremotes", "--long")
    rows = (line.partition(":") for line in done.splitlines() if ":" in line)
    return [ConfiguredRemote(name, (rest.split() or ["?"])[0]) for name, _, rest in rows]


def rclone_version() -> str:
    """Return rclone's version, such as 'v1.75.2'. Raises ToolMissingError, ToolError."""
    return _rclone("version").partition("\n")[0].removeprefix("rclone ")


def _rclone(*arguments: str) -> str:
    done = run_tool([find_rclone(), *arguments], timeout=_TIMEOUT, env={"RCLONE_ASK_PASSWORD": "false"})
    if done.returncode:
        raise ToolError(f"rclone {arguments[0]} failed: {last_line(done.stderr)}")
    return done.stdout.decode(errors="replace")


def abilities(daemon: RcloneDaemon) -> Abilities:
    """Ask what the repository's remote can do. Raises RemoteError."""
    info = daemon.call("operations/fsinfo", fs=PLAIN)
    features = info["Features"]
    return Abilities(
        hashes=tuple(info["Hashes"] or ()),
        keeps_times=int(info["Precision"]) < _COARSE,
        case_insensitive=bool(features["CaseInsensitive"]),
        folders=bool(features["CanHaveEmptyDirectories"]),
        local=bool(features.get("IsLocal")),
        tells_space=bool(features["About"]),
    )


def free_space(daemon: RcloneDaemon) -> int | None:
    """Return the bytes that are free on the repository's remote, None where it does not tell."""
    try:
        free = daemon.call("operations/about", fs=PLAIN).get("free")
    except RemoteError:
        return None
    return None if free is None else int(free)
