"""What a recorded case is, and the short words its plays are written in.

A play is a generator: it makes the tree, yields (snapshot a), changes the tree, yields again (snapshot b).
What it holds open stays open until the generator is closed.
"""

import os
from collections.abc import Callable, Generator
from dataclasses import dataclass

Name = str | bytes
Play = Generator[None, None, None]
PlayFunction = Callable[["Place", str], Play]

TEXT = b"hello world\n"


@dataclass(frozen=True, slots=True)
class Place:
    """The directory a case plays in; every method takes names relative to it."""

    root: bytes

    def __call__(self, *names: Name) -> bytes:
        return os.path.join(self.root, *map(os.fsencode, names))

    def write(self, *names: Name, data: bytes = TEXT) -> None:
        for name in names:
            with open(self(name), "wb") as file:
                file.write(data)

    def append(self, *names: Name, data: bytes = b"more\n") -> None:
        for name in names:
            with open(self(name), "ab") as file:
                file.write(data)

    def mkdir(self, *names: Name) -> None:
        for name in names:
            os.makedirs(self(name))

    def link(self, name: Name, *others: Name) -> None:
        for other in others:
            os.link(self(name), self(other))

    def symlink(self, target: str, name: Name) -> None:
        os.symlink(target, self(name))

    def rename(self, old: Name, new: Name) -> None:
        os.rename(self(old), self(new))

    def unlink(self, *names: Name) -> None:
        for name in names:
            os.unlink(self(name))

    def rmdir(self, *names: Name) -> None:
        for name in names:
            os.rmdir(self(name))

    def touch(self, name: Name, seconds: int) -> None:
        """Set both times of a file."""
        os.utime(self(name), (seconds, seconds))


@dataclass(frozen=True, slots=True)
class Home:
    """One dataset that cases play in. `mountpoint` is a name beside the other datasets."""

    mountpoint: str
    options: tuple[str, ...] = ()


# Cases share a dataset wherever they can: each costs two restores and a base, and so several restic calls.
HOMES = {
    "plain": Home("plain", ("acltype=posixacl", "xattr=on")),  # since OpenZFS 2.2 on is sa
    "still": Home("still", ("atime=on", "relatime=off")),
    "empty": Home("empty"),
    "dir": Home("dir", ("acltype=posixacl", "xattr=dir")),
    "odd": Home(
        "my da\u00e9ta", ("casesensitivity=insensitive", "normalization=formD", "utf8only=on")
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One case, which plays in a directory of the dataset `home`, or `at_root` of it.

    `quiet` says that no restore could show its change: both snapshots hold the same tree.
    """

    number: int
    title: str
    play: PlayFunction
    home: str
    at_root: bool
    quiet: bool

    @property
    def label(self) -> str:
        return f"case{self.number:02d}"

    @property
    def directory(self) -> bytes:
        """What leads from the root of the dataset to the case."""
        return b"" if self.at_root else b"/" + self.label.encode()


CASES: list[Case] = []


def case(
    number: int, title: str, *, home: str = "plain", at_root: bool = False, quiet: bool = False
) -> Callable[[PlayFunction], PlayFunction]:
    """Enter the decorated play into the registry."""

    def enter(play: PlayFunction) -> PlayFunction:
        CASES.append(Case(number, title, play, home, at_root, quiet))
        return play

    return enter
