"""Cases 4-6 and 40-50: renames of files and directories, in swaps, chains and nests."""

import ctypes
import os

from cases_registry import Place, Play, case

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@case(4, "rename file in the same dir")
def file_renamed(at: Place, _dataset: str) -> Play:
    at.write("old")
    yield
    at.rename("old", "new")
    yield


@case(5, "rename directory with children (unchanged children)", home="still")
def directory_renamed(at: Place, _dataset: str) -> Play:
    at.mkdir("d1/sub/deep")
    at.write("d1/f1", "d1/sub/f2", "d1/sub/deep/f3")
    yield
    at.rename("d1", "d2")
    yield


@case(6, "file moved in from another dir; another moved into a NEW dir")
def files_moved(at: Place, _dataset: str) -> Play:
    at.mkdir("src", "dst")
    at.write("src/f", "src/g")
    yield
    at.rename("src/f", "dst/f")
    at.mkdir("newd")
    at.rename("src/g", "newd/g")
    yield


@case(
    40,
    "file renamed and modified; renamed and chmodded; moved to other dir and modified; renamed away and back",
)
def renamed_and_changed(at: Place, _dataset: str) -> Play:
    at.write("rm", "rc", "mv", "back")
    at.mkdir("d")
    yield
    at.rename("rm", "rm2")
    at.append("rm2")
    at.rename("rc", "rc2")
    os.chmod(at("rc2"), 0o600)
    at.rename("mv", "d/mv")
    at.append("d/mv")
    at.rename("back", "back2")
    at.rename("back2", "back")
    yield


@case(41, "swap of two names a <-> b (via tmp); chain p->q, q->s; swap of two DIRS x<->y with children")
def names_swapped(at: Place, _dataset: str) -> Play:
    at.write("a", data=b"A")
    at.write("b", data=b"B")
    at.write("p", "q")
    at.mkdir("x", "y")
    at.write("x/1", "y/2")
    yield
    for old, new in ("at", "ba", "tb", "qs", "pq", "xt", "yx", "ty"):
        at.rename(old, new)
    yield


@case(42, "renameat2(RENAME_EXCHANGE) a <-> b")
def names_exchanged(at: Place, _dataset: str) -> Play:
    at.write("a", data=b"A")
    at.write("b", data=b"B")
    yield
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.renameat2(_AT_FDCWD, at("a"), _AT_FDCWD, at("b"), _RENAME_EXCHANGE) == 0, ctypes.get_errno()
    yield


@case(
    43,
    "directory renamed, then: child moved out, child modified, child removed, child created,"
    " child renamed inside, grandchild modified",
)
def directory_renamed_then_changed(at: Place, _dataset: str) -> Play:
    at.mkdir("d/sub")
    at.write("d/out", "d/mod", "d/del", "d/ren", "d/same", "d/sub/g")
    yield
    at.rename("d", "D")
    at.rename("D/out", "out")
    at.append("D/mod")
    at.unlink("D/del")
    at.write("D/new")
    at.rename("D/ren", "D/ren2")
    at.append("D/sub/g")
    yield


@case(44, "child moved out FIRST, then directory renamed; and a child moved in")
def directory_changed_then_renamed(at: Place, _dataset: str) -> Play:
    at.mkdir("d")
    at.write("d/out", "in")
    yield
    at.rename("d/out", "out")
    at.rename("in", "d/in")
    at.rename("d", "D")
    yield


@case(45, "nested renames: a/b/c/f with a->A, b->B, c->C, f modified")
def nested_renames(at: Place, _dataset: str) -> Play:
    at.mkdir("a/b/c")
    at.write("a/b/c/f")
    yield
    at.rename("a/b/c", "a/b/C")
    at.rename("a/b", "a/B")
    at.rename("a", "A")
    at.append("A/B/C/f")
    yield


@case(46, "dir renamed d->e, a NEW dir d created with a file of the same child name")
def directory_renamed_and_replaced(at: Place, _dataset: str) -> Play:
    at.mkdir("d")
    at.write("d/f")
    yield
    at.rename("d", "e")
    at.mkdir("d")
    at.write("d/f", data=b"n")
    yield


@case(47, "dir moved into another dir (mv d into p/), unchanged children; dir moved into a NEW dir")
def directories_moved(at: Place, _dataset: str) -> Play:
    at.mkdir("d", "p", "d3")
    at.write("d/f", "d3/f")
    yield
    at.rename("d", "p/d")
    at.mkdir("np")
    at.rename("d3", "np/d3")
    yield


@case(48, "dir with file removed whole, and its file moved elsewhere first")
def file_saved_from_removed_directory(at: Place, _dataset: str) -> Play:
    at.mkdir("d")
    at.write("d/f", "d/g")
    yield
    at.rename("d/f", "f")
    at.unlink("d/g")
    at.rmdir("d")
    yield


@case(49, "rename over an existing file (mv a b, b existed); over an existing empty dir")
def renamed_over(at: Place, _dataset: str) -> Play:
    at.write("a", data=b"A")
    at.write("b", data=b"B")
    at.mkdir("x", "y")
    at.write("x/1")
    yield
    at.rename("a", "b")
    at.rename("x", "y")
    yield


@case(50, "case-only rename f -> F")
def case_only_rename(at: Place, _dataset: str) -> Play:
    at.write("f")
    yield
    at.rename("f", "F")
    yield
