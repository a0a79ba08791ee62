"""`zdiffsync cat`: one file's bytes to standard output."""

import sys

import click

from zdiffsync.cli import complete
from zdiffsync.cli.context import App, pass_app
from zdiffsync.cli.location import as_of_option, located
from zdiffsync.cli.text import shown
from zdiffsync.errors import UsageError
from zdiffsync.model.entry import EntryType
from zdiffsync.restore.files import PointFiles
from zdiffsync.restore.plan import find
from zdiffsync.restore.walk import Walk

_PIECE = 1 << 20  # bytes


@click.command()
@click.argument("location", metavar="POINT:PATH", shell_complete=complete.locations)
@as_of_option
@click.option("--no-local", is_flag=True, help="Take nothing from local snapshots.")
@pass_app
def cat(app: App, location: str, *, when: str | None, no_local: bool) -> None:
    """Write a file of a restore point to standard output."""
    with app.reading() as reading:
        where = located(app, reading.catalog.points(), location, when)
        with reading.catalog.view(where.point) as view:
            found = find(Walk(view, reading.bases, where.point), where.point, where.path)
            if found.entry.type is not EntryType.FILE:
                raise UsageError(f"{shown(where.path) or 'the root'} is not a file; see zdiffsync ls")
            local = None if no_local else reading.local
            source = PointFiles(view, reading.bases, where.point, reading.fetch, local).open(found)
        for at in range(0, source.size, _PIECE):
            sys.stdout.buffer.write(source.read(at, min(_PIECE, source.size - at)))
        sys.stdout.buffer.flush()
