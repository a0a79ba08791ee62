"""The words of check. Rule: what is wrong is one line, with the file, the point and the pack by name."""

import os
from typing import Any

from zdiffsync.cli.text import plural, shown, size
from zdiffsync.errors import ZdiffsyncError
from zdiffsync.maintain.findings import Affected, AffectedFile, CheckReport, Finding

_NAMED = 3
_KEY = 8  # digits of a point's id


def finding_text(finding: Finding) -> str:
    """Return a finding as one line."""
    text = f"{shown(os.fsencode(finding.name))}: {finding.what}"
    if finding.affected is not None and finding.affected.files:
        text += f"; damages {_affected(finding.affected)}"
    elif finding.affected is not None:
        text += "; no point needs it"
    if finding.points:
        text += f" (point {_some(finding.points)})"
    return text


def _affected(affected: Affected) -> str:
    named = ", ".join(_file(each) for each in affected.named[:_NAMED])
    more = affected.files - min(len(affected.named), _NAMED)
    if more:
        named += f" and {more:,} more"
    return f"{plural(affected.files, 'file')} at {plural(len(affected.points), 'point')}: {named}"


def _file(file: AffectedFile) -> str:
    points = file.first[:_KEY] if file.first == file.last else f"{file.first[:_KEY]} to {file.last[:_KEY]}"
    return f"{file.dataset}:{shown(file.path)} ({points})"


def _some(points: tuple[str, ...]) -> str:
    text = ", ".join(key[:_KEY] for key in points[:_NAMED])
    return text if len(points) <= _NAMED else f"{text} and {len(points) - _NAMED:,} more"


def check_summary(report: CheckReport) -> str:
    """Return what was checked, and how it ended, as text."""
    packs = f"{plural(report.packs, 'pack')} ({size(report.pack_bytes)})"
    lines = [f"checked: {plural(report.points, 'point')}, {packs}, {plural(report.bases, 'base')}"]
    if report.packs_read or report.bases_read:
        part = f", and part {report.bases_read} of the bases" if report.bases_read else ""
        lines.append(f"  read      {plural(report.packs_read, 'pack')}, {size(report.bytes_read)}{part}")
    if report.files_compared:
        count = plural(report.files_compared, "file")
        lines.append(f"  compared  {count} with their snapshots, {size(report.bytes_compared)}")
    if report.restored_point is not None:
        lines.append(
            f"  restored  {plural(report.files_restored, 'file')} of point {report.restored_point}, "
            f"{size(report.bytes_restored)}, in {report.restore_seconds:.1f} s"
        )
    lines += [f"  note: {note}" for note in report.notes]
    errors = len(report.findings)
    verdict = f"{plural(errors, 'error')} {'was' if errors == 1 else 'were'} found" if errors else ""
    lines.append(f"{verdict or 'no errors were found'} in {report.seconds:.1f} s")
    return "\n".join(lines)


def check_values(report: CheckReport, error: ZdiffsyncError | None = None) -> dict[str, Any]:
    """Return the report as JSON values; `error` is what ended the check early."""
    values: dict[str, Any] = {
        name: getattr(report, name)
        for name in (
            "points", "packs", "pack_bytes", "bases", "packs_read", "bytes_read", "bases_read",
            "files_compared", "bytes_compared", "restored_point", "files_restored", "bytes_restored",
            "restore_seconds", "seconds", "notes",
        )
    }  # fmt: skip
    values["findings"] = [finding_values(finding) for finding in report.findings]
    values["exit_code"] = int(report.exit_code)
    if error is not None:
        values |= {"error": str(error), "exit_code": int(error.exit_code)}
    return values


def finding_values(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON values."""
    affected = finding.affected
    values: dict[str, Any] = {
        "name": finding.name, "what": finding.what, "pack": finding.pack, "points": list(finding.points),
        "files": 0, "named": [],
    }  # fmt: skip
    if affected is not None:
        values["points"] = sorted({*finding.points, *affected.points})
        values["files"] = affected.files
        values["named"] = [
            {
                "dataset": each.dataset, "path": os.fsdecode(each.path),
                "first_point": each.first, "last_point": each.last,
            }
            for each in affected.named
        ]  # fmt: skip
    return values
