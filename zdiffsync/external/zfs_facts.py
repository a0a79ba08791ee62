"""What `init` and `doctor` ask ZFS: which datasets there are, which versions, what this user may do.

Beside external.zfs, which holds what a run needs. Rule: reads only.
"""

import contextlib
import grp
import os
import pwd
import re
from collections.abc import Iterable
from dataclasses import dataclass

from zdiffsync.errors import ZfsError
from zdiffsync.external.zfs import Dataset, mountpoint, run_zfs

_COLUMNS = "name,type,guid,mountpoint,mounted,keystatus,encryption,referenced,logicalreferenced"
_SECTION = re.compile(r"-+ Permissions on (.+?) -+")
_ABOVE = frozenset(("Descendent permissions:", "Local+Descendent permissions:"))
_HERE = frozenset(("Local permissions:", "Local+Descendent permissions:"))


@dataclass(frozen=True, slots=True)
class Inventoried:
    """One dataset of this machine. `referenced` and `logical`: bytes of its files, stored and as read.

    `files` is the number of its files and directories, None where it is not mounted.
    """

    dataset: Dataset
    encrypted: bool
    referenced: int
    logical: int
    files: int | None


def inventory() -> list[Inventoried]:
    """List all datasets of all pools, as `zfs list` sorts them. Raises ToolMissingError, ZfsError."""
    rows = (line.split("\t") for line in _zfs("list", "-Hp", "-t", "filesystem,volume", "-o", _COLUMNS))
    return [_inventoried(row) for row in rows]


def _inventoried(row: list[str]) -> Inventoried:
    dataset = Dataset(row[0], row[1], int(row[2]), row[3], row[4] == "yes", row[5])
    return Inventoried(dataset, row[6] not in {"off", "-"}, int(row[7]), int(row[8]), _files(dataset))


def _files(dataset: Dataset) -> int | None:
    if dataset.mounted:
        with contextlib.suppress(ZfsError, OSError):
            status = os.statvfs(mountpoint(dataset.name))
            return status.f_files - status.f_ffree
    return None


def versions() -> tuple[str, str]:
    """Return the versions of ZFS's tools and of its kernel module. Raises ToolMissingError, ZfsError."""
    tools, module, *_ = [*_zfs("version"), "", ""]
    return tools.removeprefix("zfs-"), module.removeprefix("zfs-kmod-")


def delegated(dataset: str) -> frozenset[str]:
    """Return the permissions that `zfs allow` gives this user on `dataset`. Raises ZfsError.

    Source: zfs-allow(8). Sets (`@name`) are resolved; permissions for datasets yet to be made do not count.
    """
    names = {f"user {_user()}", "everyone", *(f"group {name}" for name in _groups())}
    given: set[str] = set()
    sets: dict[str, set[str]] = {}
    place = heading = ""
    for line in _zfs("allow", dataset):
        if section := _SECTION.match(line):
            place, heading = section[1], ""
        elif not line.startswith("\t"):
            heading = line.strip()
        else:
            who, _, what = line.strip().rpartition(" ")
            if heading == "Permission sets:":
                sets.setdefault(who, set()).update(what.split(","))
            elif who in names and heading in (_HERE if place == dataset else _ABOVE):
                given.update(what.split(","))
    return frozenset(_resolved(given, sets))


def _resolved(given: Iterable[str], sets: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    left = list(given)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += sets.get(name, ())
    return found


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _groups() -> list[str]:
    found = []
    for number in {os.getegid(), *os.getgroups()}:
        with contextlib.suppress(KeyError):
            found.append(grp.getgrgid(number).gr_name)
    return found


def _zfs(*arguments: str) -> list[str]:
    return os.fsdecode(run_zfs(arguments).stdout).splitlines()
