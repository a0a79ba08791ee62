"""`zdiffsync ls`: what a point holds."""

import base64
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import click

from zdiffsync.cli import complete
from zdiffsync.cli.context import App, pass_app
from zdiffsync.cli.location import as_of_option, located
from zdiffsync.cli.text import emit_list, local, shown, size
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.restore.plan import find
from zdiffsync.restore.tree import Found
from zdiffsync.restore.walk import Walk

_DEVICES = (EntryType.BLOCK, EntryType.CHARACTER)


@dataclass(frozen=True, slots=True)
class _Style:
    long: bool
    human: bool
    whole_path: bool


@click.command()
@click.argument("location", metavar="POINT[:PATH]", shell_complete=complete.locations)
@click.option("-l", "--long", is_flag=True, help="Show mode, links, owner, size, time and target.")
@click.option("-H", "--human-readable", "human", is_flag=True, help="Show sizes like 1.5 MiB.")
@click.option("-R", "--recursive", is_flag=True, help="Show everything below.")
@as_of_option
@pass_app
def ls(app: App, location: str, *, long: bool, human: bool, recursive: bool, when: str | None) -> None:
    """List a directory (or one file) of a restore point."""
    with app.reading() as reading:
        where = located(app, reading.catalog.points(), location, when)
        with reading.catalog.view(where.point) as view:
            walk = Walk(view, reading.bases, where.point)
            top = find(walk, where.point, where.path)
            if top.entry.type is not EntryType.DIRECTORY:
                found: Iterable[Found] = [top]
            elif recursive:
                found = walk.below(top)
            else:
                found = walk.children(top)
            if app.json:
                emit_list("entries", map(values, found))
                return
            for line in _lines(found, _Style(long, human, recursive)):
                app.show(line)


def _lines(found: Iterable[Found], style: _Style) -> Iterator[str]:
    """Yield the lines of a listing; columns are as wide as they must be where all of it is at hand."""
    if not style.long:
        for item in found:
            yield _name(item, style)
        return
    if style.whole_path:
        for item in found:
            yield _row(_columns(item, style), (3, 5, 5, 13), item, style)
        return
    items = list(found)
    rows = [_columns(item, style) for item in items]
    widths = tuple(max((len(row[index]) for row in rows), default=0) for index in range(4))
    for row, item in zip(rows, items, strict=True):
        yield _row(row, widths, item, style)


def _row(columns: tuple[str, ...], widths: tuple[int, ...], item: Found, style: _Style) -> str:
    entry = item.entry
    padded = " ".join(f"{column:>{width}}" for column, width in zip(columns, widths, strict=True))
    target = "" if entry.target is None else f" -> {shown(entry.target)}"
    mode = stat.filemode(entry.type.format_bits | entry.mode)
    return f"{mode} {padded} {local(entry.mtime_ns)} {_name(item, style)}{target}"


def _columns(item: Found, style: _Style) -> tuple[str, ...]:
    entry = item.entry
    return f"{item.links}", f"{entry.uid}", f"{entry.gid}", _size(entry, style)


def _size(entry: Entry, style: _Style) -> str:
    if entry.type in _DEVICES:
        return f"{os.major(entry.rdev)},{os.minor(entry.rdev)}"
    if entry.type is not EntryType.FILE:
        return "-"
    return size(entry.size) if style.human else f"{entry.size:,}"


def _name(item: Found, style: _Style) -> str:
    return shown(item.path if style.whole_path else item.name or b".")


def values(item: Found) -> dict[str, object]:
    """Return an entry as JSON values."""
    entry = item.entry
    return {
        "path": os.fsdecode(item.path), "type": entry.type.value, "mode": entry.mode, "uid": entry.uid,
        "gid": entry.gid, "size": entry.size, "mtime_ns": entry.mtime_ns, "inode": item.inode,
        "links": item.links, "rdev": entry.rdev,
        "target": None if entry.target is None else os.fsdecode(entry.target),
        "xattrs": [(os.fsdecode(name), base64.b64encode(data).decode()) for name, data in entry.xattrs],
    }  # fmt: skip
