"""Cases 1-3, 27-30, 35, 36, 56 and 72: contents, replaced objects, reused object numbers."""

import mmap
import os
from collections.abc import Callable

from cases_registry import Place, Play, PlayFunction, case
from machine import sh

_MANY = 40  # new objects until the allocator must have come by the freed number


@case(
    1,
    "created / modified / removed file; created dir; removed dir; file created+removed in between; dir only",
)
def everyday(at: Place, _dataset: str) -> Play:
    at.mkdir("gonedir", "quiet", "transient")
    at.write("mod", "gone", "gonedir/x", "same")
    yield
    at.append("mod")
    at.unlink("gone", "gonedir/x")
    at.rmdir("gonedir")
    at.mkdir("newdir")
    at.write("new", "newdir/child", "transient/tmp")
    at.unlink("transient/tmp")
    yield


@case(2, "no changes at all", home="still", quiet=True)
def no_changes(at: Place, _dataset: str) -> Play:
    at.write("f")
    yield
    yield


@case(3, "empty dataset, two snapshots", home="empty", at_root=True, quiet=True)
def empty(_at: Place, _dataset: str) -> Play:
    yield
    yield


@case(
    27,
    "file removed and re-created with the same name (new object);"
    " overwritten by rename from temp (atomic save)",
)
def recreated(at: Place, _dataset: str) -> Play:
    at.write("f", "atomic")
    yield
    at.unlink("f")
    at.write("f", data=b"other")
    at.write(".tmp", data=b"new")
    at.rename(".tmp", "atomic")
    yield


def _reuse(
    number: int, kind: str, name: Callable[[int], str], make: Callable[[Place, str], None]
) -> PlayFunction:
    @case(
        number,
        f"inode (object) number reuse: file f1 removed, new {kind} gets the same object number",
        home="odd",
    )
    def reuse(at: Place, dataset: str) -> Play:
        at.write("f0", "f1", "f2")
        freed = os.stat(at("f1")).st_ino
        yield
        at.unlink("f1")
        sh("zpool", "sync", dataset.partition("/")[0])
        sh("zfs", "unmount", dataset)  # the allocator starts anew at the lowest free number
        sh("zfs", "mount", dataset)
        for count in range(_MANY):
            made = name(count)
            make(at, made)
            if os.stat(at(made)).st_ino == freed:
                break
            os.rename(at(made), at(f"unused{count}"))
        else:
            raise AssertionError(f"object number {freed} was not given out again")
        yield

    return reuse


reused_by_file = _reuse(28, "file", lambda count: f"n{count}", lambda at, name: at.write(name))
reused_by_same_name = _reuse(29, "samename", lambda _count: "f1", lambda at, name: at.write(name))
reused_by_directory = _reuse(30, "dir", lambda count: f"n{count}", lambda at, name: at.mkdir(name))


@case(
    35,
    "sparse create 1 GiB; truncate to 0; truncate shorter; extend by truncate; punch hole;"
    " rewrite same content; rewrite keeping mtime",
)
def sizes_and_holes(at: Place, _dataset: str) -> Play:
    at.write("t0", "tshort", "text", "punch", "same", "keepmt", "rev", data=b"z" * 300_000)
    yield
    with open(at("sparse"), "wb") as file:
        file.truncate(1 << 30)
    os.truncate(at("t0"), 0)
    os.truncate(at("tshort"), 1000)
    os.truncate(at("text"), 1 << 20)
    sh("fallocate", "-p", "-o", "0", "-l", "131072", at("punch"))
    at.write("same", data=b"z" * 300_000)
    before = os.stat(at("keepmt"))
    at.write("keepmt", data=b"y" * 300_000)
    os.utime(at("keepmt"), ns=(before.st_atime_ns, before.st_mtime_ns))
    at.append("rev")
    os.truncate(at("rev"), 300_000)
    yield


@case(
    36, "file replaced by dir; dir replaced by file; dir replaced by symlink; file by symlink; file by fifo"
)
def types_replaced(at: Place, _dataset: str) -> Play:
    at.mkdir("d2f", "d2l")
    at.write("f2d", "d2f/x", "f2l", "f2p")
    yield
    at.unlink("f2d")
    at.mkdir("f2d")
    at.write("f2d/child")
    at.unlink("d2f/x")
    at.rmdir("d2f")
    at.write("d2f")
    at.rmdir("d2l")
    at.symlink("f2d", "d2l")
    at.unlink("f2l")
    at.symlink("d2f", "f2l")
    at.unlink("f2p")
    os.mkfifo(at("f2p"))
    yield


@case(56, "mmap write, not synced before the snapshot")
def mapped_write(at: Place, _dataset: str) -> Play:
    at.write("m", data=b"x" * 8192)
    yield
    with open(at("m"), "r+b") as file, mmap.mmap(file.fileno(), 8192) as mapped:
        mapped[0:5] = b"HELLO"
        yield


@case(
    72,
    "rapid: write, snapshot, write the same file at once, 20 rounds (does an equal ctime hide a change?)",
)
def rapid_writes(at: Place, dataset: str) -> Play:
    at.write("f")
    yield
    with open(at("f"), "ab", buffering=0) as file:
        for count in range(20):
            file.write(b"1")
            sh("zfs", "snapshot", f"{dataset}@r{count}")
            file.write(b"2")
            sh("zfs", "snapshot", f"{dataset}@s{count}")
    yield
