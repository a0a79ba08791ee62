"""Looking through a whole snapshot before its base: what restic cannot carry, and the hard links.

The only walk over all files; it happens once a base. Rule: base plus this supplement equals the
snapshot, so what restic leaves out (the root's own metadata, sockets, hard links of what is no regular
file, paths beyond PATH_MAX) is in it.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from zdiffsync.backup.changes import ChangeSet, Detection, ObjectChange
from zdiffsync.backup.directories import join
from zdiffsync.backup.excludes import Excludes
from zdiffsync.external.tree import Identity, Listed, SnapshotTree

_PATH_MAX = 4096  # bytes including the final NUL; restic uses absolute paths


@dataclass(slots=True)
class Survey:
    """What the walk found. `excluded` are the topmost excluded paths, `size` the bytes of all files.

    `carried` counts the names that are restic's to store; `left_to_us` are the topmost of the others.
    """

    files: int = 0
    size: int = 0
    carried: int = 0
    excluded: list[bytes] = field(default_factory=list)
    left_to_us: list[bytes] = field(default_factory=list)
    links: dict[Identity, list[bytes]] = field(default_factory=dict)
    names: dict[bytes, Identity] = field(default_factory=dict)


def survey(
    tree: SnapshotTree,
    excludes: Excludes,
    progress: Callable[[int], None],
    doubtful: Callable[[os.stat_result], bool] = lambda _info: False,
) -> Survey:
    """Walk the whole tree; `progress` is told every name.

    `doubtful` picks files that restic must not take over from its parent snapshot although their times
    allow it. Raises OSError for an unreadable directory.
    """
    found = Survey()
    found.names[b""] = _identity(tree, b"")
    stack: list[tuple[bytes, bool]] = [(b"", False)]
    while stack:
        directory, ours = stack.pop()
        for item in tree.names(directory):
            progress(1)
            path = join(directory, item.name)
            if excludes.matches(path, directory=item.directory):
                found.excluded.append(path)
                continue
            mine = _take(found, tree, path, item, ours=ours, doubtful=doubtful)
            if item.directory:
                stack.append((path, mine))
    _complete_link_groups(found)
    return found


def _take(
    found: Survey,
    tree: SnapshotTree,
    path: bytes,
    item: Listed,
    *,
    ours: bool,
    doubtful: Callable[[os.stat_result], bool],
) -> bool:
    info = tree.lstat(path)
    assert info is not None, "a snapshot's names do not vanish"
    if stat.S_ISREG(info.st_mode):
        found.files += 1
        found.size += info.st_size
    too_long = len(tree.root) + 1 + len(path) >= _PATH_MAX
    linked = info.st_nlink > 1 and not item.directory
    # restic passes over sockets and makes several objects of a symlink or device with several names.
    lost = stat.S_ISSOCK(info.st_mode) or (linked and not stat.S_ISREG(info.st_mode))
    mine = ours or too_long or lost or (not item.directory and doubtful(info))
    identity = None
    if linked:
        identity = _identity(tree, path)
        found.links.setdefault(identity, []).append(path)
    if mine:
        found.names[path] = identity or _identity(tree, path)
        if not ours:
            found.left_to_us.append(path)
    else:
        found.carried += 1
    return mine


def _complete_link_groups(found: Survey) -> None:
    """Give every object of the supplement all its names, or it would become two."""
    for identity in set(found.names.values()) & found.links.keys():
        found.names.update(dict.fromkeys(found.links[identity], identity))


def _identity(tree: SnapshotTree, path: bytes) -> Identity:
    identity = tree.identity(path)
    assert identity is not None, "a snapshot's names do not vanish"
    return identity


def supplement(tree: SnapshotTree, found: Survey) -> ChangeSet:
    """Return what has to be stored beside the restic snapshot, as changes to it."""
    paths: dict[Identity, list[bytes]] = {}
    for path, identity in found.names.items():
        paths.setdefault(identity, []).append(path)
    names: dict[Identity, dict[bytes, Identity | None]] = {}
    places: dict[Identity, tuple[bytes | None, bytes | None]] = {
        identity: (None, min(where)) for identity, where in paths.items()
    }
    for path, identity in found.names.items():
        if path:
            directory, _, name = path.rpartition(b"/")
            parent = found.names.get(directory) or _identity(tree, directory)
            places.setdefault(parent, (None, directory))
            names.setdefault(parent, {})[name] = identity
    return ChangeSet(
        names=names,
        objects=tuple(
            ObjectChange(identity, None, tuple(sorted(where))) for identity, where in paths.items()
        ),
        places=places,
        links={identity: tuple(sorted(where)) for identity, where in found.links.items()},
        detection=Detection("full walk"),
    )
