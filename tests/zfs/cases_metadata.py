"""Cases 17-26, 54, 55, 57, 60, 71 and 73: special files, modes, owners, times, xattrs, ACLs, flags."""

import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cases_registry import Place, Play, PlayFunction, case
from machine import sh

_LONG_AGO = 10**9  # seconds since 1970: 2001
_DAY = 86_400


@case(17, "symlink created; retargeted by unlink+symlink; retargeted by rename over; removed; dangling")
def symlinks(at: Place, _dataset: str) -> Play:
    at.symlink("t1", "re1")
    at.symlink("t1", "re2")
    at.symlink("t1", "rm")
    yield
    at.symlink("nowhere", "new")
    at.unlink("re1")
    at.symlink("t2", "re1")
    at.symlink("t2", "tmp")
    at.rename("tmp", "re2")
    at.unlink("rm")
    yield


@case(18, "fifo, socket, char and block device created; and pre-existing ones chmodded/removed")
def special_files(at: Place, _dataset: str) -> Play:
    os.mkfifo(at("fifo0"))
    os.mkfifo(at("fifo1"))
    yield
    os.mkfifo(at("fifo"))
    os.mknod(at("chr"), 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(at("blk"), 0o600 | stat.S_IFBLK, os.makedev(7, 0))
    os.chmod(at("fifo0"), 0o600)
    at.unlink("fifo1")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(at("sock"))
        yield


@case(
    19, "metadata only: chmod, chown, mtime touch, atime touch, plain read; chmod of dir; chown -h of symlink"
)
def metadata_only(at: Place, _dataset: str) -> Play:
    at.write("chmod", "chown", "mtime", "atime", "read")
    at.mkdir("dirchmod")
    at.symlink("x", "sl")
    yield
    os.chmod(at("chmod"), 0o600)
    os.chown(at("chown"), 12, 34)
    at.touch("mtime", _LONG_AGO)
    os.utime(at("atime"), ns=(10**18, os.stat(at("atime")).st_mtime_ns))
    Path(os.fsdecode(at("read"))).read_bytes()
    os.chmod(at("dirchmod"), 0o700)
    os.lchown(at("sl"), 5, 5)
    yield


@case(20, "plain reads only, atime=on relatime=off", home="still", quiet=True)
def plain_reads(at: Place, _dataset: str) -> Play:
    at.write("read")
    at.mkdir("d")
    at.write("d/x")
    before = os.stat(at("read")).st_atime_ns
    yield
    Path(os.fsdecode(at("read"))).read_bytes()
    os.listdir(at("d"))
    assert os.stat(at("read")).st_atime_ns > before
    yield


def _xattrs(number: int, kind: str, home: str) -> PlayFunction:
    @case(number, f"xattr set / changed / removed, xattr={kind}", home=home)
    def xattrs(at: Place, _dataset: str) -> Play:
        at.write("set", "chg", "rem", "big")
        at.mkdir("dset")
        os.setxattr(at("chg"), "user.k", b"1")
        os.setxattr(at("rem"), "user.k", b"1")
        yield
        os.setxattr(at("set"), "user.k", b"v")
        os.setxattr(at("chg"), "user.k", b"2")
        os.removexattr(at("rem"), "user.k")
        os.setxattr(at("dset"), "user.k", b"v")
        os.setxattr(at("big"), "user.big", b"x" * 60_000)
        yield

    return xattrs


xattrs_sa = _xattrs(21, "sa", home="plain")
xattrs_dir = _xattrs(22, "dir", home="dir")
xattrs_on = _xattrs(23, "on", home="plain")


def _acls(number: int, kind: str, home: str) -> PlayFunction:
    @case(number, f"posix ACL set (xattr={kind})", home=home)
    def acls(at: Place, _dataset: str) -> Play:
        at.write("f")
        at.mkdir("d")
        yield
        sh("setfacl", "-m", "u:1234:rw", at("f"))
        sh("setfacl", "-d", "-m", "u:1234:rwx", at("d"))
        yield

    return acls


acls_sa = _acls(24, "sa", home="plain")
acls_dir = _acls(25, "dir", home="dir")


@case(26, "file with xattr (xattr=dir) created / removed", home="dir")
def xattr_files(at: Place, _dataset: str) -> Play:
    at.write("gone")
    os.setxattr(at("gone"), "user.k", b"1")
    yield
    at.unlink("gone")
    at.write("new")
    os.setxattr(at("new"), "user.k", b"1")
    yield


@case(
    54,
    "many links + dir mtime: only the directory touched; file created inside a dir then that dir mtime reset",
)
def directory_times(at: Place, _dataset: str) -> Play:
    at.mkdir("d", "e")
    yield
    at.touch("d", _LONG_AGO)
    at.write("e/new")
    at.touch("e", _LONG_AGO)
    yield


@case(55, "timestamps: file modified, then mtime set to 2001 (which time does -t print?)")
def times_set_back(at: Place, _dataset: str) -> Play:
    at.write("f", "gone")
    at.touch("gone", _LONG_AGO)
    yield
    at.append("f")
    at.touch("f", _LONG_AGO)
    at.write("n")
    at.unlink("gone")
    yield


@case(
    57, "project id / chattr flags only (chattr +i, +d via lsattr-tools; projid by `zfs project`)", quiet=True
)
def flags_only(at: Place, _dataset: str) -> Play:
    at.write("imm", "prj")
    yield
    sh("chattr", "+i", at("imm"))
    sh("zfs", "project", "-p", "77", at("prj"))
    try:
        yield
    finally:
        sh("chattr", "-i", at("imm"))


@case(60, "dataset root itself chmodded / xattr on root", home="odd", at_root=True)
def root_changed(at: Place, _dataset: str) -> Play:
    at.write("f")
    yield
    os.chmod(at(), 0o711)
    os.setxattr(at(), "user.k", b"v")
    yield


@case(
    71,
    "content changed and ctime pushed back? utime cannot; but a clock step can:"
    " clock set 1 day back, file written",
)
def clock_stepped(at: Place, _dataset: str) -> Play:
    at.write("f")
    yield
    with _yesterday():
        at.append("f")
        at.write("n")
    yield


@contextmanager
def _yesterday() -> Iterator[None]:
    """Set the clock back, but only the lab's: elsewhere every other program would see the step."""
    if "User Mode Linux" not in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        yield
        return
    time.clock_settime(time.CLOCK_REALTIME, time.time() - _DAY)
    try:
        yield
    finally:
        time.clock_settime(time.CLOCK_REALTIME, time.time() + _DAY)


@case(
    73,
    "file system full of ACL/xattr: xattr set on symlink and dir (trusted.*), xattr=sa;"
    " security.capability via setcap-like",
)
def other_namespaces(at: Place, _dataset: str) -> Play:
    at.write("f")
    at.symlink("f", "sl")
    at.mkdir("d")
    yield
    os.setxattr(at("f"), "trusted.t", b"1")
    os.setxattr(at("sl"), "trusted.t", b"1", follow_symlinks=False)
    os.setxattr(at("d"), "trusted.t", b"1")
    capability = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw=ep
    os.setxattr(at("f"), "security.capability", capability)
    yield
