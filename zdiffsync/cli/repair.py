"""`zdiffsync repair`: store again what the remote has lost, while this machine still has it."""

import click

from zdiffsync.cli.check_summary import finding_text, finding_values
from zdiffsync.cli.context import App, pass_app
from zdiffsync.cli.session import make_session
from zdiffsync.cli.text import plural, size
from zdiffsync.errors import ExitCode
from zdiffsync.external.lock import exclusive
from zdiffsync.maintain.memory import CheckMemory
from zdiffsync.maintain.repair import Repair, RepairReport
from zdiffsync.restore.local import snapshot_directories


@click.command()
@click.option("--read-data", is_flag=True, help="Read all packs and bases first, to find what is damaged.")
@click.option("--dry-run", is_flag=True, help="Tell what would be done; change nothing.")
@pass_app
def repair(app: App, *, read_data: bool, dry_run: bool) -> int:
    """Store again from local snapshots what is damaged or missing on the remote; give up the rest."""
    return app.on_each_remote(lambda one: _repair(one, read_data=read_data, dry_run=dry_run))


def _repair(app: App, *, read_data: bool, dry_run: bool) -> int:
    with exclusive(app.lock_path, "repair"), app.opened(fill=False) as opened:
        memory = CheckMemory(opened.config.state, opened.repository.identifier)
        repairing = Repair(
            make_session(app, opened), memory, snapshot_directories,
            transfers=opened.config.transfers, dry_run=dry_run,
        )  # fmt: skip
        report = repairing.run(read_data=read_data)
    app.emit(_values(report, dry_run=dry_run))
    lines = _lines(report, dry_run=dry_run)
    if report.exit_code is ExitCode.DONE:
        app.say("\n".join(lines))
    else:
        app.complain("\n".join(lines))
    return int(report.exit_code)


def _lines(report: RepairReport, *, dry_run: bool) -> list[str]:
    lines = [f"found: {finding_text(finding)}" for finding in report.found]
    would = "would be " if dry_run else ""
    if report.contents:
        uploaded = "" if dry_run else f", {size(report.uploaded)} uploaded"
        lines.append(
            f"{would}stored again: {plural(report.contents, 'content')}, {size(report.size)}{uploaded}, from "
            f"{', '.join(sorted(report.snapshots))}"
        )
    manifests = report.manifests
    lines += [f"{would}written anew from the catalog: {name}" for name in manifests.written]
    lines += [f"{would}moved to lost/, as the chain ends before it: {name}" for name in manifests.moved]
    if report.bases:
        lines.append(f"the bases: the next run {'would make' if dry_run else 'makes'} new ones")
    if report.lost is not None:
        lines.append(finding_text(report.lost).replace("lost: ", f"{would}given up: ", 1))
    lines += [f"not repaired: {text}" for text in (*manifests.left, *report.left)]
    if not report.found:
        lines.append("nothing to repair")
    return lines


def _values(report: RepairReport, *, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run, "found": [finding_values(finding) for finding in report.found],
        "contents": report.contents, "bytes": report.size, "uploaded_bytes": report.uploaded,
        "snapshots": sorted(report.snapshots), "lost_contents": report.lost_contents,
        "lost": None if report.lost is None else finding_values(report.lost),
        "written": [str(name) for name in report.manifests.written],
        "moved": [str(name) for name in report.manifests.moved],
        "rewritten": [str(name) for name in report.rewritten], "new_bases": report.bases,
        "left": [*report.manifests.left, *report.left], "exit_code": int(report.exit_code),
    }  # fmt: skip
