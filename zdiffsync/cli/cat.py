"""`zdiffsync cat`: one file's bytes to standard output."""

import sys

import click

from zdiffsync.cli.context import App, pass_app
from zdiffsync.restore.access import PointAccess
from zdiffsync.restore.locate import locate
from zdiffsync.restore.restore import missing


@click.command()
@click.argument("location", metavar="POINT:PATH")
@pass_app
def cat(app: App, location: str) -> None:
    """Write a file of a restore point to standard output."""
    with app.opened() as opened:
        where = locate(opened.catalog.points(), location)
        with opened.catalog.view(where.point) as view:
            node = view.resolve(where.path)
            if node is None:
                raise missing(where.point, where.path)
            with PointAccess(opened.repository.store, opened.restic, where.point, view) as access:
                access.copy(node, sys.stdout.buffer)
            sys.stdout.buffer.flush()
