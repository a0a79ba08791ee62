"""The words a run ends with. Rule: what changed, what it cost, and everything that is not as it should be."""

import shlex
from collections.abc import Sequence

from zdiffsync.backup.report import PointReport, RunReport, Stopped
from zdiffsync.cli.journal import Level, Line
from zdiffsync.cli.text import local, plural, size

_MOST_NAMED = 10


def run_summary(report: RunReport, *, dry_run: bool, retention: Sequence[str] = ()) -> list[Line]:
    """Return the report of a run in lines; `retention`: what was forgotten and pruned after it."""
    lines: list[Line] = []
    for point in report.points:
        lines += _all(Level.INFO, _point(point, dry_run=dry_run))
        lines += _all(Level.WARNING, _concerns(point))
    for each in report.nothing_new:
        newest = f"the newest snapshot is {each.snapshot}"
        lines.append((Level.INFO, f"{each.dataset}: nothing new since point {each.last_point} ({newest})"))
    for stopped in report.tripped:
        lines += _all(Level.ERROR, _stopped(stopped, dry_run=dry_run))
    lines += _all(Level.WARNING, [f"not covered: {name} {reason}" for name, reason in report.not_covered])
    lines += _all(Level.WARNING, [f"left over: {name}: {why}" for name, why in report.left_over.items()])
    if report.recovery is not None:
        lines.append((Level.WARNING, f"recovery files not updated: {report.recovery}"))
    lines += _all(Level.ERROR, [f"FAILED: {name}: {reason}" for name, reason, _code in report.failed])
    lines += _all(Level.INFO, retention)
    return [*lines, (Level.INFO, f"{'dry run' if dry_run else 'done'} in {report.seconds:.1f} s")]


def _all(level: Level, lines: Sequence[str]) -> list[Line]:
    return [(level, line) for line in lines]


def _stopped(stopped: Stopped, *, dry_run: bool) -> list[str]:
    state = "would not be backed up" if dry_run else "not backed up"
    return [
        f"{stopped.dataset}: {state}: {stopped.finding}",
        f"  if this is right: zdiffsync run --accept-changes {shlex.quote(stopped.accept)}",
        f"  until then the last point is {stopped.last_point} of {local(stopped.last_created_ns)};",
        f"  its snapshot {stopped.last_snapshot} is kept, forget and prune do nothing",
    ]


def _point(point: PointReport, *, dry_run: bool) -> list[str]:
    title = f"{point.dataset}: {point.kind}" + ("" if dry_run else f" {point.point}")
    lines = [f"{title} ({point.reason})" if point.reason else title]
    if point.files_total is not None and point.bytes_total is not None:
        lines.append(f"  holds     {plural(point.files_total, 'file')}, {size(point.bytes_total)}")
    if point.kind == "increment":
        lines.append(f"  changed   {_changes(point)}")
    if not dry_run:
        lines.append(f"  uploaded  {_cost(point)}")
        stages = " · ".join(f"{stage} {spent:.1f} s" for stage, spent in point.seconds.items())
        lines.append(f"  time      {stages}")
    return lines


def _changes(point: PointReport) -> str:
    parts = [
        plural(count, word)
        for count, word in (
            (point.created, "new object"),
            (point.modified, "modified file"),
            (point.metadata_only, "metadata change"),
            (point.names_added, "added name") if point.names_added != point.created else (0, ""),
            (point.names_removed, "removed name"),
        )
        if count
    ]
    return ", ".join(parts) or "nothing"


def _cost(point: PointReport) -> str:
    text = size(point.uploaded_bytes + point.manifest_bytes)
    if point.kind == "increment" and point.changed_bytes:
        text += f" for {size(point.changed_bytes)} of changed files"
    if point.deltas:
        text += f" ({plural(point.deltas, 'delta')} saved {size(point.saved_bytes)})"
    return text


def _concerns(point: PointReport) -> list[str]:
    lines = []
    if point.fallback:
        lines.append(f"  compared whole trees: {point.fallback}")
    if point.uncertified_because:
        lines.append(f"  uncertified: {point.uncertified_because}")
    if point.misses:
        count = plural(len(point.misses), "change")
        lines.append(f"  zfs diff missed {count}, found through the send stream: {_some(point.misses)}")
    lines += [f"  skipped {path}: {reason}" for path, reason in point.skipped[:_MOST_NAMED]]
    if len(point.skipped) > _MOST_NAMED:
        lines.append(f"  … and {len(point.skipped) - _MOST_NAMED:,} more skipped (see --json)")
    return lines


def _some(paths: list[str]) -> str:
    shown = ", ".join(repr(path) for path in paths[:3])
    return shown + (", …" if len(paths) > 3 else "")  # noqa: PLR2004 - three examples fit a line
