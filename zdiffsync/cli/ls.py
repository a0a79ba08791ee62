"""`zdiffsync ls`: what a point holds."""

import os
import stat
from collections.abc import Iterable
from datetime import datetime

import click

from zdiffsync.cli.context import App, pass_app
from zdiffsync.model.entry import EntryType
from zdiffsync.restore.browse import Browser, Found
from zdiffsync.restore.locate import locate
from zdiffsync.restore.plan import missing


@click.command()
@click.argument("location", metavar="POINT[:PATH]")
@click.option("-l", "--long", "long_format", is_flag=True, help="Show mode, owner, size and time.")
@click.option("-R", "--recursive", is_flag=True, help="Show everything below.")
@pass_app
def ls(app: App, location: str, *, long_format: bool, recursive: bool) -> None:
    """List a directory (or one file) of a restore point."""
    with app.opened() as opened:
        where = locate(opened.catalog.points(), location)
        with opened.catalog.view(where.point) as view:
            node = view.resolve(where.path)
            browser = Browser(view, opened.restic, where.point)
            top = None if node is None else browser.entry(where.path, node)
            if node is None or top is None:
                raise missing(where.point, where.path)
            if top.entry.type is not EntryType.DIRECTORY:
                found: Iterable[Found] = [top]
            elif recursive:
                found = browser.below(where.path, node)
            else:
                found = browser.children(where.path, node)
            _print(app, list(found), long_format=long_format, recursive=recursive)


def _print(app: App, found: list[Found], *, long_format: bool, recursive: bool) -> None:
    app.emit({"entries": [values(item) for item in found]})
    for item in found:
        path = item.path if recursive else item.path.rpartition(b"/")[2]
        app.show(f"{_details(item)} {shown(path)}" if long_format else shown(path))


def shown(path: bytes) -> str:
    """Return a path fit for a terminal: control characters and undecodable bytes escaped."""
    text = os.fsdecode(path)
    return text if text.isprintable() else text.encode("unicode_escape", "surrogateescape").decode("latin-1")


def _details(item: Found) -> str:
    entry = item.entry
    time = f"{datetime.fromtimestamp(entry.mtime_ns / 1e9).astimezone():%Y-%m-%d %H:%M:%S}"
    mode = stat.filemode(entry.type.format_bits | entry.mode)
    return f"{mode} {entry.uid:>6} {entry.gid:>6} {entry.size:>14,} {time}"


def values(item: Found) -> dict[str, object]:
    """Return an entry as JSON values."""
    entry = item.entry
    return {
        "path": os.fsdecode(item.path), "type": entry.type.value, "mode": entry.mode, "uid": entry.uid,
        "gid": entry.gid, "size": entry.size, "mtime_ns": entry.mtime_ns,
        "target": None if entry.target is None else os.fsdecode(entry.target),
    }  # fmt: skip
