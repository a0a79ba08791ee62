"""The world that is being simulated: one of them, its steps, and what all parts of it share.

Rule: nothing here is told to the program but through the doors that `sim_doors` opens.
"""

from typing import TYPE_CHECKING

from sim_tree import Obj, Objects

from zdiffsync.model.entry import Entry, EntryType

if TYPE_CHECKING:
    from sim_world import World
    from steps import Steps

TREES: dict[int, Objects] = {}  # what open snapshots hold, by descriptor
_now: "list[tuple[World, Steps]]" = []


def enter(world: "World", steps: "Steps") -> None:
    """Make this the world that the doors lead to."""
    _now[:] = [(world, steps)]


def world() -> "World":
    return _now[0][0]


def steps() -> "Steps":
    return _now[0][1]


def entry(obj: Obj) -> Entry:
    """Return an object's metadata as zdiffsync keeps them."""
    kind = EntryType.of_mode(obj.kind)
    return Entry(
        kind, obj.mode, obj.uid, obj.gid, obj.mtime_ns, len(obj.data) if kind is EntryType.FILE else 0, 0,
        obj.target, obj.xattrs,
    )  # fmt: skip
