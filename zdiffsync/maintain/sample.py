"""A random sample of a point's files: small and large, of the base and of increments.

Under check's comparison with the source and its restore drill. Rule: costs what is looked at; the tree is
gone down at random, never walked.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

from zdiffsync.bases.bases import Bases
from zdiffsync.catalog.catalog import Catalog, Point
from zdiffsync.errors import IntegrityError, ObjectMissingError, ZdiffsyncError
from zdiffsync.maintain.findings import Finding, file_name
from zdiffsync.model.entry import EntryType
from zdiffsync.restore.tree import Found
from zdiffsync.restore.walk import Walk, name_in

BYTES = 256 << 20  # of one sample, at most
_CANDIDATES = 3  # looked at for one that is taken
_VAIN = 50  # ways down in a row that lead to nothing new: then there is no more
_CLASS = 3  # bits of size in one class: what is 8 times larger is in another


@dataclass(slots=True)
class Sample:
    """Files of `point` to look at, by path.

    `directories` holds the names in each directory that was passed, `findings` what was wrong on the way.
    """

    point: Point
    files: dict[bytes, Found] = field(default_factory=dict)
    directories: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    unreadable: set[bytes] = field(default_factory=set)

    def fails(self, path: bytes, error: ZdiffsyncError) -> None:
        """Note, once, that `path` cannot be read."""
        if path in self.unreadable:
            return
        self.unreadable.add(path)
        name = file_name(self.point.dataset, path)
        self.findings.append(Finding(name, str(error), points=(self.point.key,)))


def draw(
    catalog: Catalog, bases: Bases, point: Point, count: int, cost: Callable[[int], int], random: Random
) -> Sample:
    """Return a sample of at most `count` files; `cost` says what a file of a size adds to its BYTES.

    What is known to be lost is not among them. Raises RemoteError.
    """
    sample = Sample(point)
    with catalog.view(point) as view:
        walk = Walk(view, bases, point)
        with catalog.holders() as holders:
            numbers = holders.some_files(point.chain_id, point.sequence, count * _CANDIDATES)
            lost = holders.lost_in(point.chain_id)
        for number in numbers:
            for path in view.paths(view.node(number))[:1]:
                _look(walk, path, sample)
        vain = 0
        while vain < _VAIN and len(sample.files) < 2 * count * _CANDIDATES:
            found = _way_down(walk, sample, random)
            vain = 0 if found is not None and found.path not in sample.files else vain + 1
            if found is not None:
                sample.files[found.path] = found
    there = [found for found in sample.files.values() if found.content not in lost]
    chosen = _choose(there, count, cost, random)
    sample.files = {found.path: found for found in chosen}
    return sample


def _look(walk: Walk, path: bytes, sample: Sample) -> None:
    try:
        found = walk.find(path)
    except (IntegrityError, ObjectMissingError) as error:
        sample.fails(path, error)
        return
    if found is not None and found.entry.type is EntryType.FILE:
        sample.files[path] = found


def _way_down(walk: Walk, sample: Sample, random: Random) -> Found | None:
    """Go down by chance until there is a file, or nothing. A directory is listed once, however large."""
    path = b""
    try:
        found = walk.find(path)
        while found is not None and found.entry.type is EntryType.DIRECTORY:
            names = sample.directories.get(path)
            if names is None:
                names = tuple(name_in(found, each) for each in walk.children(found))
                sample.directories[path] = names
            if not names:
                return None
            name = random.choice(names)
            path = path + b"/" + name if path else name
            found = walk.find(path)
    except (IntegrityError, ObjectMissingError) as error:
        sample.fails(path, error)
        return None
    return found if found is not None and found.entry.type is EntryType.FILE else None


def _choose(
    files: Sequence[Found], count: int, cost: Callable[[int], int], random: Random
) -> Iterable[Found]:
    """Take files of all sizes in turn, while there is room; one at least."""
    classes: dict[int, list[Found]] = {}
    for found in random.sample(files, len(files)):
        classes.setdefault(found.entry.size.bit_length() // _CLASS, []).append(found)
    chosen: list[Found] = []
    left = BYTES
    while len(chosen) < count and any(classes.values()):
        for members in classes.values():
            if not members or len(chosen) >= count:
                continue
            found = members.pop()
            if cost(found.entry.size) <= left:
                left -= cost(found.entry.size)
                chosen.append(found)
    if files and not chosen:
        return [min(files, key=lambda found: found.entry.size)]
    return chosen
