"""Cases 51-53 and 61-63: files that are gone by name and still held open by somebody."""

import os
import subprocess

from cases_registry import Place, Play, case


@case(
    51,
    "deleted but open at snapshot time: (1) existed at @a, unlinked+open at @b;"
    " (2) created+unlinked+open at @b; (3) O_TMPFILE",
)
def deleted_but_open(at: Place, _dataset: str) -> Play:
    at.write("old", "other")
    yield
    with open(at("old"), "rb"), open(at("fresh"), "wb", buffering=0) as fresh:
        at.unlink("old")
        fresh.write(b"abc")
        at.unlink("fresh")
        with os.fdopen(os.open(at(), os.O_TMPFILE | os.O_RDWR, 0o600), "wb", buffering=0) as nameless:
            nameless.write(b"tmpfile")
            yield


@case(52, "unlinked-open in BOTH snapshots, written in between; then closed", quiet=True)
def ghost(at: Place, _dataset: str) -> Play:
    with open(at("ghost"), "wb", buffering=0) as file:
        file.write(b"1")
        at.unlink("ghost")
        yield
        file.write(b"2" * 200_000)
        yield


@case(53, "unlinked-open file WITH xattr=dir xattr at @b", home="dir")
def deleted_with_xattr(at: Place, _dataset: str) -> Play:
    at.write("f")
    os.setxattr(at("f"), "user.k", b"1")
    yield
    with open(at("f"), "rb"):
        at.unlink("f")
        yield


@case(
    61,
    "unlinked-open file that was ALSO written (ctime moved):"
    " (1) f existed at @a; written, unlinked, open at @b",
)
def written_and_deleted(at: Place, _dataset: str) -> Play:
    at.write("old", "old2")
    at.link("old2", "old2b")
    yield
    with open(at("old"), "ab", buffering=0) as file, open(at("old2"), "ab"):
        file.write(b"x")
        at.unlink("old", "old2", "old2b")
        yield


@case(
    62,
    "unlinked-open file, NOT written (ctime unmoved), then closed:"
    ' does any diff of the chain a->b->c say "-" ?',
)
def deleted_unwritten(at: Place, _dataset: str) -> Play:
    at.mkdir("d")
    at.write("d/old")
    yield
    with open(at("d/old"), "rb"):
        at.unlink("d/old")
        yield


@case(63, "rmdir of a directory that is some process's cwd; whole tree removed while a file in it is open")
def removed_under_a_process(at: Place, _dataset: str) -> Play:
    at.mkdir("cwd", "t/u")
    at.write("t/u/open", "t/u/shut")
    yield
    with open(at("t/u/open"), "rb"), subprocess.Popen(["sleep", "600"], cwd=at("cwd")) as inhabitant:
        at.rmdir("cwd")
        at.unlink("t/u/open", "t/u/shut")
        at.rmdir("t/u", "t")
        try:
            yield
        finally:
            inhabitant.kill()
