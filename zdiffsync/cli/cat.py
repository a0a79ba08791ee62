"""`zdiffsync cat`: one file's bytes to standard output."""

import sys

import click

from zdiffsync.cli.context import App, pass_app
from zdiffsync.cli.ls import shown
from zdiffsync.errors import UsageError
from zdiffsync.model.entry import EntryType
from zdiffsync.restore.access import PointAccess
from zdiffsync.restore.browse import Browser
from zdiffsync.restore.locate import locate
from zdiffsync.restore.plan import missing


@click.command()
@click.argument("location", metavar="POINT:PATH")
@pass_app
def cat(app: App, location: str) -> None:
    """Write a file of a restore point to standard output."""
    with app.opened() as opened:
        where = locate(opened.catalog.points(), location)
        with opened.catalog.view(where.point) as view:
            node = view.resolve(where.path)
            browser = Browser(view, opened.restic, where.point)
            found = None if node is None else browser.entry(where.path, node)
            if node is None or found is None:
                raise missing(where.point, where.path)
            if found.entry.type is not EntryType.FILE:
                raise UsageError(f"{shown(where.path) or 'the root'} is not a file; see zdiffsync ls")
            with PointAccess(opened.repository.store, opened.restic, where.point, view) as access:
                access.copy(node, sys.stdout.buffer)
            sys.stdout.buffer.flush()
