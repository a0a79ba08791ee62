"""What reconcile found out: the differences between two snapshots, by object.

Made by backup.reconcile, turned into manifest records by backup.increment.
Rule: complete. Applying these changes to the old tree gives the new tree.
"""

from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass, field

from zdiffsync.external.tree import Identity

Names = Mapping[Identity, Mapping[bytes, Identity | None]]


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """An object that may differ: its path then (None: new), all its names now, sorted, and how many it had.

    `donor` is the old path of another file that had one of the names: what a save by rename replaced.
    `compare` says that the content must be compared even where the times are equal.
    `ranges` are the changed (start, end) in bytes when the stream told them, else None.
    """

    identity: Identity
    old_path: bytes | None
    names: tuple[bytes, ...]
    donor: bytes | None = None
    compare: bool = False
    ranges: tuple[tuple[int, int], ...] | None = None
    names_before: int = 0


@dataclass(slots=True)
class Detection:
    """How the changes were found; goes into the report."""

    method: str
    rows: int = 0
    problem: str | None = None
    certified: bool = False
    uncertified_because: str | None = None
    misses: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """All differences. `names` are those that now lead elsewhere, by directory (None: to nothing).

    `places` gives (old path, new path) of every object mentioned; `fresh` are those of `objects` that the old
    tree did not have. `links` holds the ledger's changed rows: all names of an object that has or had
    several. `gone` holds the old names of what is no directory and was found nowhere in the new tree.
    """

    names: Names
    objects: Collection[ObjectChange]
    places: Mapping[Identity, tuple[bytes | None, bytes | None]]
    links: dict[Identity, tuple[bytes, ...]]
    detection: Detection
    gone: dict[Identity, tuple[bytes, ...]] = field(default_factory=dict)
    fresh: Container[Identity] = frozenset()
