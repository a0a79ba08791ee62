"""`zdiffsync restore`: files, directories or a whole point back onto a disk."""

import os
from pathlib import Path

import click

from zdiffsync.cli.context import App, Opened, pass_app
from zdiffsync.cli.ls import shown
from zdiffsync.cli.summary import plural, size
from zdiffsync.errors import ExitCode, UsageError
from zdiffsync.external import zfs
from zdiffsync.model.entry import EntryType
from zdiffsync.restore.assemble import Overwrite, RestoreReport
from zdiffsync.restore.browse import Browser
from zdiffsync.restore.locate import Location, locate
from zdiffsync.restore.restore import Restorer, missing


@click.command()
@click.argument("location", metavar="POINT[:PATH]")
@click.option("--to", "target", type=click.Path(path_type=Path), help="Directory to restore into.")
@click.option("--in-place", is_flag=True, help="Restore to where it came from.")
@click.option(
    "--overwrite",
    type=click.Choice([choice.value for choice in Overwrite]),
    help="What to do with files that are already there (default: never; in place: changed).",
)
@click.option("--dry-run", is_flag=True, help="Tell what would be restored; write nothing.")
@pass_app
def restore(
    app: App, location: str, target: Path | None, *, in_place: bool, overwrite: str | None, dry_run: bool
) -> int:
    """Restore a whole point, a directory or a file.

    With --to DIR a path becomes DIR/NAME; a whole point fills DIR.
    """
    if (target is None) == (not in_place):
        raise UsageError("say where to restore: --to DIR, or --in-place")
    with app.opened() as opened:
        where = locate(opened.catalog.points(), location)
        if dry_run:
            return _preview(app, opened, where)
        folder, name = _destination(where, target)
        policy = Overwrite(overwrite or ("changed" if in_place else "never"))
        restorer = Restorer(opened.repository.store, opened.catalog, opened.restic, app.progress)
        report = restorer.restore(where.point, where.path, folder, name=name, overwrite=policy)
    return _tell(app, report, folder if name is None else folder / os.fsdecode(name))


def _destination(where: Location, target: Path | None) -> tuple[Path, bytes | None]:
    head, _, name = where.path.rpartition(b"/")
    if target is not None:
        return target.absolute(), name or None
    root = Path(os.fsdecode(zfs.mountpoint(where.point.dataset)))
    return root / os.fsdecode(head), name or None


def _preview(app: App, opened: Opened, where: Location) -> int:
    with opened.catalog.view(where.point) as view:
        node = view.resolve(where.path)
        browser = Browser(view, opened.restic, where.point)
        top = None if node is None else browser.entry(where.path, node)
        if node is None or top is None:
            raise missing(where.point, where.path)
        found = [top]
        if top.entry.type is EntryType.DIRECTORY:
            found += browser.below(where.path, node)
    files = [item for item in found if item.entry.type is EntryType.FILE]
    total = sum(item.entry.size for item in files)
    app.emit({"dry_run": True, "entries": len(found), "files": len(files), "bytes": total})
    app.show(f"would restore {plural(len(files), 'file')}, {len(found) - len(files):,} others, {size(total)}")
    return ExitCode.DONE


def _tell(app: App, report: RestoreReport, place: Path) -> int:
    code = ExitCode.DONE
    if report.failed:
        code = ExitCode.INTEGRITY if report.damaged else ExitCode.INCOMPLETE
    app.emit(
        {
            "target": str(place), "files": report.files, "directories": report.directories,
            "others": report.others, "bytes": report.bytes_restored, "kept": report.kept,
            "failed": [(os.fsdecode(path), reason) for path, reason in report.failed],
            "warnings": report.warnings, "exit_code": int(code),
        }
    )  # fmt: skip
    for path, reason in report.failed:
        click.echo(f"zdiffsync: not restored: {shown(path)}: {reason}", err=True)
    for text, count in report.warnings.items():
        click.echo(f"zdiffsync: warning: {text} ({count:,} times)", err=True)
    kept = f", kept {report.kept:,} already there" if report.kept else ""
    app.say(f"restored to {place}: {plural(report.files, 'file')}, {size(report.bytes_restored)}{kept}")
    return int(code)
