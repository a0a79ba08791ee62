"""Cases 31-34, 37-39, 58 and 59: odd names, long paths, odd mountpoints."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from cases_registry import Place, Play, case

_NAMES = (
    b"plain", b"sp ace", b" lead", b"trail ", b"new\nline", b"ta\tb", b"back\\slash", b"back\\0040fake",
    "caf\u00e9".encode(), "\u65e5\u672c".encode(), "\U0001f600".encode(), b"inv\xff\xfealid", b"latin\xe9",
    b"ctl\x01\x1b\x7f", b"a -> b", b"a\t->\tb", b"q\"uote's", b"(+1)", b"star*?[x]", "nfd-e\u0301".encode(),
    b"x" * 255,
)  # fmt: skip
_SHORTER = tuple(name[:240] for name in _NAMES)


@case(31, "odd names: created")
def odd_names_created(at: Place, _dataset: str) -> Play:
    yield
    at.write(*_NAMES)
    yield


@case(32, "odd names: renamed (name -> name.r), and removed")
def odd_names_renamed(at: Place, _dataset: str) -> Play:
    at.write(*_SHORTER)
    yield
    for name in _SHORTER:
        at.rename(name, name + b".r")
    yield


@case(33, "odd names as directories: child modified")
def odd_directories(at: Place, _dataset: str) -> Play:
    for name in _NAMES:
        at.mkdir(name)
        at.write(name + b"/f")
    yield
    for name in _NAMES:
        at.append(name + b"/f")
    yield


@case(34, "odd names: hard link added")
def odd_names_linked(at: Place, _dataset: str) -> Play:
    at.write(*_SHORTER)
    yield
    for name in _SHORTER:
        at.link(name, name + b".l")
    yield


@case(37, "deep dirs (30 levels): leaf modified, leaf created in another chain")
def deep_directories(at: Place, _dataset: str) -> Play:
    path = "/".join(f"l{level:02d}" for level in range(30))
    at.mkdir(f"A/{path}", f"B/{path}")
    at.write(f"A/{path}/leaf")
    yield
    at.append(f"A/{path}/leaf")
    at.write(f"B/{path}/newleaf")
    yield


@contextmanager
def _deep(root: bytes, levels: int) -> Iterator[int]:
    """Make a chain of directories with names of 250 bytes and give the descriptor of the last."""
    directory = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d" * 250, dir_fd=directory)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = below
    try:
        yield directory
    finally:
        os.close(directory)


def _append(name: str, directory: int, data: bytes) -> None:
    file = os.open(name, os.O_CREAT | os.O_APPEND | os.O_WRONLY, dir_fd=directory)
    os.write(file, data)
    os.close(file)


@case(38, "very long path (> 1024, about 3.5 KiB): leaf created and modified")
def long_path(at: Place, _dataset: str) -> Play:
    with _deep(at(), levels=14) as directory:
        _append("leaf", directory, b"x")
        yield
        _append("leaf", directory, b"x")
        _append("leaf2", directory, b"")
    yield


@case(39, "path longer than PATH_MAX (about 5 KiB): leaf modified")
def path_beyond_path_max(at: Place, _dataset: str) -> Play:
    with _deep(at(), levels=20) as directory:
        _append("leaf", directory, b"x")
        yield
        _append("leaf", directory, b"x")
        _append("other", directory, b"")
    at.write("short")
    yield


@case(
    58,
    "casesensitivity=insensitive normalization=formD utf8only=on: rename f -> F, create caf\u00e9 (NFC)",
    home="odd",
)
def insensitive_names(at: Place, _dataset: str) -> Play:
    at.write("f")
    yield
    at.rename("f", "F")
    at.write("caf\u00e9")
    yield


@case(59, "special mountpoint with a space and unicode", home="odd")
def odd_mountpoint(at: Place, _dataset: str) -> Play:
    at.write("f")
    yield
    at.append("f")
    at.rename("f", "g")
    at.write("h")
    yield
