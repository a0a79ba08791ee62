"""What a run tells people and programs: one report a point, one for the run.

Rule: the manifest keeps the same figures, so `points` can show them years later.
"""

import os
from dataclasses import asdict, dataclass, field
from typing import Any

from zdiffsync.backup.changes import Detection
from zdiffsync.backup.commit import Outcome
from zdiffsync.backup.tripwire import Finding
from zdiffsync.errors import ExitCode
from zdiffsync.format.manifest import Header


@dataclass(frozen=True, slots=True)
class PointReport:
    """One committed point. Bytes and seconds.

    `uploaded_bytes` are packs and what restic stored; the manifest (`manifest_bytes`) came on top.
    `upload_rate` is in bytes a second, None where too little was uploaded to tell.
    `files_…` count regular files by their names; deleted and rewritten is meant since the point before.
    """

    dataset: str
    point: str
    kind: str
    snapshot: str
    created_ns: int
    reason: str | None = None
    files_total: int | None = None
    files_deleted: int = 0
    files_rewritten: int = 0
    bytes_total: int | None = None
    created: int = 0
    modified: int = 0
    metadata_only: int = 0
    names_added: int = 0
    names_removed: int = 0
    read_bytes: int = 0
    changed_bytes: int = 0
    uploaded_bytes: int = 0
    manifest_bytes: int = 0
    upload_rate: int | None = None
    deltas: int = 0
    saved_bytes: int = 0
    method: str = ""
    rows: int = 0
    fallback: str | None = None
    certified: bool = False
    uncertified_because: str | None = None
    misses: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    skipped_paths: list[str] = field(default_factory=list)
    quiet: list[int] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def as_stats(self) -> dict[str, Any]:
        """Return what the manifest keeps: all but what its header says and its own size."""
        known = {"dataset", "point", "kind", "snapshot", "created_ns", "manifest_bytes"}
        return {key: value for key, value in asdict(self).items() if key not in known}


def point_report(
    header: Header, detection: Detection, outcome: Outcome, seconds: dict[str, float], **more: Any
) -> PointReport:
    """Put the figures of one point together; `more` overrides or adds fields."""
    values: dict[str, Any] = {
        "reason": None,
        "created": outcome.point.created,
        "modified": outcome.point.modified,
        "metadata_only": outcome.point.metadata_only,
        "names_added": outcome.point.names_added,
        "names_removed": outcome.point.names_removed,
        "read_bytes": outcome.contents.bytes_read,
        "changed_bytes": outcome.contents.bytes_new,
        "uploaded_bytes": outcome.uploaded,
        "manifest_bytes": outcome.manifest,
        "upload_rate": outcome.rate,
        "deltas": outcome.contents.deltas,
        "saved_bytes": outcome.contents.bytes_saved_by_deltas,
        "method": detection.method,
        "rows": detection.rows,
        "fallback": detection.problem,
        "certified": detection.certified,
        "uncertified_because": detection.uncertified_because,
        "misses": [os.fsdecode(path) for path in detection.misses],
        "skipped": [(os.fsdecode(item.path), item.reason) for item in outcome.point.skipped],
        "quiet": outcome.point.quiet,
        "skipped_paths": [item.path.hex() for item in outcome.point.skipped],
        "seconds": {stage: round(spent, 3) for stage, spent in seconds.items()},
    }
    return PointReport(
        header.dataset, header.point, "base" if header.is_base else "increment", header.snapshot,
        header.created_ns, **values | more,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stopped:
    """A dataset the tripwire stopped: why, the last point it keeps, and the name to accept the changes by."""

    dataset: str
    accept: str
    finding: Finding
    last_point: str
    last_snapshot: str
    last_created_ns: int


@dataclass(frozen=True, slots=True)
class NothingNew:
    """A dataset of which another tool took no snapshot since the last point; `snapshot` is the newest."""

    dataset: str
    snapshot: str
    last_point: str


@dataclass(slots=True)
class RunReport:
    """The whole run: its points, the datasets it does not cover, and those that failed.

    `tripped` are datasets whose changes a person has to confirm; `left_over` are snapshots that could not be
    let go or marked, and why; `recovery` says why the recovery files on the remote could not be brought up to
    date.
    """

    points: list[PointReport] = field(default_factory=list)
    not_covered: list[tuple[str, str]] = field(default_factory=list)
    nothing_new: list[NothingNew] = field(default_factory=list)
    tripped: list[Stopped] = field(default_factory=list)
    failed: list[tuple[str, str, ExitCode]] = field(default_factory=list)
    left_over: dict[str, str] = field(default_factory=dict)
    recovery: str | None = None
    seconds: float = 0.0

    @property
    def exit_code(self) -> ExitCode:
        """What the process should leave with: a failure first, then incompleteness."""
        if self.failed:
            return self.failed[0][2]
        left_out = self.not_covered or self.left_over or self.tripped
        incomplete = left_out or any(point.skipped for point in self.points)
        return ExitCode.INCOMPLETE if incomplete else ExitCode.DONE
