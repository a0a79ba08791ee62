"""A live tree for random histories: what is in it, and the bytes and names changes are made of.

Rule: a turn is decided by its seed and the tree alone, so that a failing history can be played again.
"""

import ctypes
import mmap
import os
import random
import shutil
import stat
from typing import BinaryIO

from machine import release, sh

NAMES = (
    b"a", b"b", b"c", b"d", b"new\nline", b"ta\tb", b"back\\0040slash", b" sp ace ", b"inv\xff\xfe",
    "caf\u00e9".encode(), b"-rf", b"x" * 255,
)  # fmt: skip
SIZES = (0, 1, 100, 5_000, 60_000, 70_000, 140_000)
_DEEPEST = 4  # levels; with names of 255 bytes any path still fits into PATH_MAX
_libc = ctypes.CDLL(None, use_errno=True)


class NothingThereError(Exception):
    """A turn needs something the tree does not have."""


class World:
    """The mounted tree of a dataset, and whatever holds its files open.

    `stale` and `mapped` are object numbers that `zfs diff` may be wrong about: of files that have lost one of
    several names, and of files stored into through memory. `children` are datasets mounted in the tree.
    """

    def __init__(self, root: bytes, dataset: str) -> None:
        self.root, self.dataset = root, dataset
        self.handles: list[BinaryIO] = []
        self.maps: list[mmap.mmap] = []
        self.stale: set[int] = set()
        self.mapped: set[int] = set()
        self.children: list[str] = []

    def __call__(self, path: bytes) -> bytes:
        """Return the absolute path."""
        return os.path.join(self.root, path) if path else self.root

    def paths(self, *kinds: int) -> list[bytes]:
        """Return all paths of these types (S_IFREG, …; none: all) below the root, in order."""
        found = []
        stack = [b""]
        while stack:
            directory = stack.pop()
            for entry in os.scandir(self(directory)):
                path = directory + b"/" + entry.name if directory else entry.name
                if not kinds or stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode) in kinds:
                    found.append(path)
                if entry.is_dir(follow_symlinks=False):
                    stack.append(path)
        return sorted(found)

    def remove(self, path: bytes) -> None:
        """Remove whatever is there, with all below it."""
        self.losing(path)
        if os.path.isdir(self(path)) and not os.path.islink(self(path)):
            shutil.rmtree(self(path))
        elif os.path.lexists(self(path)):
            os.unlink(self(path))

    def losing(self, path: bytes) -> None:
        """Note which objects lose one of several names when `path` goes."""
        below = [each for each in self.paths() if each == path or each.startswith(path + b"/")]
        for each in below:
            info = os.lstat(self(each))
            if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
                self.stale.add(info.st_ino)

    def hold(self, path: bytes) -> None:
        """Keep a file open for reading and writing."""
        self.handles.append(open(self(path), "r+b", buffering=0))  # noqa: SIM115 - closed some turns later

    def close(self) -> None:
        """Let go of every file that is held."""
        for held in (*self.handles, *self.maps):
            held.close()
        self.handles.clear()
        self.maps.clear()


class Turn:
    """One decision maker: picks paths of a world and makes up names and bytes."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.rng = random.Random(seed)

    def pick(self, *kinds: int) -> bytes:
        """Return some path of these types. Raises NothingThereError."""
        return self._one_of(self.world.paths(*kinds))

    def file(self) -> bytes:
        """Return some regular file."""
        return self.pick(stat.S_IFREG)

    def content(self) -> bytes:
        """Return some regular file that is not empty."""
        files = self.world.paths(stat.S_IFREG)
        return self._one_of([path for path in files if os.lstat(self.world(path)).st_size])

    def directory(self) -> bytes:
        """Return some directory, perhaps the root, in which another level has room."""
        every = [b"", *self.world.paths(stat.S_IFDIR)]
        return self._one_of([path for path in every if path.count(b"/") < _DEEPEST - 1])

    def vacant(self) -> bytes:
        """Return a path at which nothing is yet."""
        path = self.anywhere()
        if os.path.lexists(self.world(path)):
            raise NothingThereError
        return path

    def anywhere(self) -> bytes:
        """Return a path at which there may be something."""
        return self.within(self.directory())

    def within(self, directory: bytes) -> bytes:
        """Return the path of some name in a directory."""
        name = self.rng.choice(NAMES)
        return directory + b"/" + name if directory else name

    def data(self) -> bytes:
        """Return bytes: random, or of one kind."""
        size = self.rng.choice(SIZES)
        return self.rng.randbytes(size) if self.rng.random() < 0.8 else b"same" * (size // 4)

    def span(self, path: bytes) -> tuple[int, int]:
        """Return (offset, length) of a part of a file."""
        size = os.lstat(self.world(path)).st_size
        start = self.rng.randrange(size + 1)
        return start, self.rng.choice((1, 100, 40_000))

    def _one_of(self, paths: list[bytes]) -> bytes:
        if not paths:
            raise NothingThereError
        return self.rng.choice(paths)


def destroy(dataset: str) -> None:
    """Destroy a dataset with all below it, held snapshots too."""
    release(*sh("zfs", "list", "-Hro", "name", "-t", "snapshot", dataset).split())
    sh("zfs", "destroy", "-R", "-f", dataset)


def punch(path: bytes, offset: int, length: int) -> None:
    """Punch a hole: FALLOC_FL_PUNCH_HOLE with FALLOC_FL_KEEP_SIZE."""
    with open(path, "r+b") as file:
        _check(_libc.fallocate(file.fileno(), 3, ctypes.c_long(offset), ctypes.c_long(length)))


def exchange(one: bytes, other: bytes) -> None:
    """Swap what two names lead to, in one step (RENAME_EXCHANGE)."""
    _check(_libc.renameat2(-100, one, -100, other, 2))


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
