"""How much a change set destroys: regular files deleted, and rewritten, counted by their names.

Between detection and commit, for the tripwire. Rule: costs what changed (one stat a side), reads no bytes.
"""

import os
import stat
from collections import Counter
from dataclasses import dataclass

from zdiffsync.backup.changes import ChangeSet, ObjectChange
from zdiffsync.external.tree import SnapshotTree, same_times

Pair = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Tally:
    """Names of regular files. `growth` is how many more there are than before.

    `rewritten` are files whose bytes were written, and files replaced by a new one of the same name or of the
    same name with an extension added; `pairs` are their (old path, new path), a file once.
    """

    deleted: int = 0
    rewritten: int = 0
    growth: int = 0
    pairs: tuple[Pair, ...] = ()

    @property
    def extension(self) -> bytes | None:
        """What nearly all rewritten files got added to their names, such as b'.locked'; None: nothing."""
        added: Counter[bytes] = Counter(
            new[len(old) :] for old, new in self.pairs if new.startswith(old + b".")
        )
        for extension, count in added.most_common(1):
            if count >= 0.8 * len(self.pairs):
                return extension
        return None


def tally(changes: ChangeSet, old: SnapshotTree, new: SnapshotTree) -> Tally:
    """Count what `changes` from `old` to `new` do to regular files. Raises OSError."""
    rewritten = growth = 0
    pairs: list[Pair] = []
    fresh: set[bytes] = set()
    for change in changes.objects:
        now = new.lstat(change.names[0])
        if now is None or not stat.S_ISREG(now.st_mode):
            continue
        growth += len(change.names) - change.names_before
        if change.old_path is None:
            fresh.update(change.names)
        elif _written(change, old.lstat(change.old_path), now):
            rewritten += len(change.names)
            pairs.append((change.old_path, change.names[0]))
    heirs = {path.rpartition(b".")[0]: path for path in fresh} | {path: path for path in fresh}
    deleted = 0
    for paths in changes.gone.values():
        was = old.lstat(paths[0])
        if was is None or not stat.S_ISREG(was.st_mode):
            continue
        growth -= len(paths)
        if was.st_nlink > len(paths):
            continue  # it lives on under a name that is excluded, or that nothing pointed at
        for path in paths:
            if (heir := heirs.get(path)) is None:
                deleted += 1
            else:
                rewritten += 1
                pairs.append((path, heir))
    return Tally(deleted, rewritten, growth, tuple(pairs))


def _written(change: ObjectChange, was: os.stat_result | None, now: os.stat_result) -> bool:
    """Whether the file's bytes were written: as the send stream has it, else going by size and time."""
    if was is None or same_times(was, now):
        return False
    if was.st_size != now.st_size:
        return True
    if change.ranges is not None:
        return len(change.ranges) > 1  # the last one is what lies behind the file's end
    return was.st_mtime_ns != now.st_mtime_ns
