"""What happened to a dataset since its last point, and whether that is unusual for it.

Asked by increments and bases before they store anything; `backup.tripwire` judges.
Rule: what is usual is read from the points' own statistics, so it survives the loss of the catalog.
"""

import os
from dataclasses import dataclass
from typing import Any

from zdiffsync.backup.changes import ChangeSet
from zdiffsync.backup.samples import Samples, take_samples
from zdiffsync.backup.session import Session
from zdiffsync.backup.tally import Tally, tally
from zdiffsync.backup.tripwire import Finding, Night, judge
from zdiffsync.external.tree import SnapshotTree
from zdiffsync.format.manifest import Header

_NIGHTS = 60  # so many back are asked what is usual


@dataclass(frozen=True, slots=True)
class Since:
    """Changes in figures; `files` is how many regular files there were before, None: not known."""

    tally: Tally
    samples: Samples
    files: int | None

    def finding(self, session: Session, header: Header) -> Finding | None:
        """Return what is unusual about it, None when nothing is."""
        extension = self.tally.extension
        return judge(
            session.settings.tripwire, Night(self.tally.deleted, self.tally.rewritten),
            files=self.files, history=_history(session, header), samples=self.samples,
            extension=None if extension is None else os.fsdecode(extension),
        )  # fmt: skip

    def stats(self) -> dict[str, Any]:
        """Return what the new point keeps of it, for the nights to come."""
        return {
            "files_total": None if self.files is None else self.files + self.tally.growth,
            "files_deleted": self.tally.deleted,
            "files_rewritten": self.tally.rewritten,
        }


def weigh(
    session: Session, changes: ChangeSet, old: SnapshotTree, new: SnapshotTree, files: int | None
) -> Since:
    """Put the changes between two trees into figures; `files` as in Since. Raises OSError."""
    counted = tally(changes, old, new)
    few = counted.rewritten < session.settings.tripwire.min_files
    return Since(counted, Samples() if few else take_samples(counted.pairs, old, new), files)


def _history(session: Session, header: Header) -> list[Night]:
    points = session.catalog.points_of(header.dataset_guid, header.host)
    return [
        Night(point.stats.get("files_deleted", 0), point.stats.get("files_rewritten", 0))
        for point in points[-_NIGHTS:]
    ]
