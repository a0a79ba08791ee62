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
class Case:
    """One case. `options` are those of its dataset; `mountpoint` is a name beside the other datasets.

    A case that is `alone` has its dataset (and its root) to itself, else it plays in a directory of
    `dataset`. `quiet` says that no restore could show its change: both snapshots hold the same tree.
    """

    number: int
    title: str
    play: PlayFunction
    options: tuple[str, ...] = ()
    dataset: str = ""
    mountpoint: str | None = None
    alone: bool = False
    quiet: bool = False

    @property
    def label(self) -> str:
        return f"case{self.number:02d}"


CASES: list[Case] = []


def case(
    number: int,
    title: str,
    *options: str,
    dataset: str | None = None,
    mountpoint: str | None = None,
    alone: bool = False,
    quiet: bool = False,
) -> Callable[[PlayFunction], PlayFunction]:
    """Enter the decorated play into the registry; by default it shares a dataset with its equals."""

    def enter(play: PlayFunction) -> PlayFunction:
        shared = "-".join(["shared", *options]).replace("=", "-")
        place = dataset or (f"case{number:02d}" if alone else shared)
        CASES.append(Case(number, title, play, options, place, mountpoint, alone, quiet))
        return play

    return enter
