"""The words before and after a restore. Rule: from where how much comes is told both times."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

from zdiffsync.cli.text import plural, size
from zdiffsync.errors import ExitCode
from zdiffsync.restore.plan import Plan
from zdiffsync.restore.rate import DownloadRate
from zdiffsync.restore.report import RestoreReport

_MINUTE = 60


def plan_values(plans: Sequence[Plan], rate: DownloadRate) -> dict[str, Any]:
    """Return the plan as JSON values."""
    entries = sum(plan.files + plan.directories + plan.others for plan in plans)
    return {
        "dry_run": True, "targets": _targets(plans), "entries": entries,
        "files": sum(plan.files for plan in plans), "bytes": sum(plan.size for plan in plans),
        "kept": sum(plan.kept for plan in plans), "local_bytes": sum(plan.local for plan in plans),
        "local_files": sum(plan.local_files for plan in plans),
        "snapshots": _snapshots(plans),
        "download_bytes": sum(plan.download for plan in plans),
        "pack_bytes": sum(plan.pack_bytes for plan in plans),
        "base_bytes": sum(plan.base_bytes for plan in plans),
        "fetched_bytes": sum(plan.fetched for plan in plans),
        "objects": sum(plan.objects for plan in plans),
        "seconds": round(rate.seconds(sum(plan.download for plan in plans))),
        "bytes_per_second": round(rate.per_second), "rate_measured": rate.measured,
        "resuming": any(plan.resumed for plan in plans),
    }  # fmt: skip


def plan_summary(plans: Sequence[Plan], rate: DownloadRate, *, short: bool = False) -> str:
    """Return the plan as text; `short`: the one line said before doing it."""
    files, total = sum(plan.files for plan in plans), sum(plan.size for plan in plans)
    download, objects = sum(plan.download for plan in plans), sum(plan.objects for plan in plans)
    local = sum(plan.local for plan in plans)
    resuming = any(plan.resumed for plan in plans)
    if short:
        parts = [f"{size(local)} from local snapshots"] if local else []
        parts += [f"{size(download)} to download ({_duration(download, rate)})"] if download else []
        word = "resuming" if resuming else "restoring"
        return f"{word}: {plural(files, 'file')}, {size(total)}" + (f"; {', '.join(parts)}" if parts else "")
    others = sum(plan.directories + plan.others for plan in plans)
    places = ", ".join(_targets(plans))
    lines = [f"would restore {plural(files, 'file')} and {others:,} others, {size(total)}, to {places}"]
    if resuming:
        lines.append("  goes on where an interrupted restore stopped")
    if kept := sum(plan.kept for plan in plans):
        lines.append(f"  there     {kept:,} already, and kept")
    if local:
        count = plural(sum(plan.local_files for plan in plans), "file")
        lines.append(f"  local     {size(local)} ({count}) from {', '.join(_snapshots(plans))}")
    if fetched := sum(plan.fetched for plan in plans):
        lines.append(f"  fetched   {size(fetched)} by the interrupted restore")
    packs, base = sum(plan.pack_bytes for plan in plans), sum(plan.base_bytes for plan in plans)
    lines.append(
        f"  download  {size(download)} from {plural(objects, 'object')} "
        f"({size(packs)} of packs, {size(base)} of the base)"
        if download
        else "  download  nothing"
    )
    if download:
        lines.append(f"  time      {_duration(download, rate)}")
    return "\n".join(lines)


def _duration(download: int, rate: DownloadRate) -> str:
    seconds = rate.seconds(download)
    text = (
        "less than a minute" if seconds < _MINUTE else f"about {plural(round(seconds / _MINUTE), 'minute')}"
    )
    if seconds >= 120 * _MINUTE:
        text = f"about {plural(round(seconds / _MINUTE / 60), 'hour')}"
    return f"{text} at {size(rate.per_second)}/s, {'as measured' if rate.measured else 'a guess'}"


def result_code(reports: Iterable[RestoreReport]) -> ExitCode:
    """Return the exit code for what failed."""
    code = ExitCode.DONE
    for report in reports:
        if report.failed:
            code = max(code, ExitCode.INTEGRITY if report.damaged else ExitCode.INCOMPLETE)
    return code


def report_values(plans: Sequence[Plan], reports: Sequence[RestoreReport], code: ExitCode) -> dict[str, Any]:
    """Return what was done as JSON values."""
    warnings: dict[str, int] = {}
    for report in reports:
        for text, count in report.warnings.items():
            warnings[text] = warnings.get(text, 0) + count
    return {
        "targets": _targets(plans), "files": sum(report.files for report in reports),
        "directories": sum(report.directories for report in reports),
        "others": sum(report.others for report in reports),
        "bytes": sum(report.bytes_restored for report in reports),
        "kept": sum(report.kept for report in reports),
        "local_bytes": sum(report.local for report in reports),
        "local_refused": sum(report.refused for report in reports),
        "downloaded_bytes": sum(report.downloaded for report in reports),
        "resumed": any(report.resumed for report in reports),
        "failed": [(os.fsdecode(path), reason) for report in reports for path, reason in report.failed],
        "warnings": warnings, "exit_code": int(code),
    }  # fmt: skip


def report_summary(plans: Sequence[Plan], reports: Sequence[RestoreReport]) -> str:
    """Return what was done as text."""
    files, done = sum(report.files for report in reports), sum(report.bytes_restored for report in reports)
    text = f"restored to {', '.join(_targets(plans))}: {plural(files, 'file')}, {size(done)}"
    if kept := sum(report.kept for report in reports):
        text += f", kept {kept:,} already there"
    parts = []
    if local := sum(report.local for report in reports):
        parts.append(f"{size(local)} from local snapshots")
    if downloaded := sum(report.downloaded for report in reports):
        parts.append(f"{size(downloaded)} downloaded")
    if refused := sum(report.refused for report in reports):
        parts.append(f"{refused:,} local ranges were not what was backed up and were downloaded instead")
    return text + (f"\n  {', '.join(parts)}" if parts else "")


def _targets(plans: Sequence[Plan]) -> list[str]:
    places = []
    for plan in plans:
        request = plan.request
        for item in request.items:
            parts = [part for part in (item.folder, item.name) if part]
            places.append(str(request.target.joinpath(*map(os.fsdecode, parts))))
    return places


def _snapshots(plans: Sequence[Plan]) -> list[str]:
    return list(dict.fromkeys(name for plan in plans for name in plan.snapshots))
