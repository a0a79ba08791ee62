"""`zdiffsync rebuild`: the catalog made again from the manifests on the remote."""

from pathlib import Path

import click

from zdiffsync.backup.sync import sync_catalog
from zdiffsync.catalog.catalog import Catalog
from zdiffsync.cli.context import App, pass_app
from zdiffsync.cli.opening import open_configured
from zdiffsync.cli.text import plural
from zdiffsync.external.lock import exclusive


@click.command()
@pass_app
def rebuild(app: App) -> int:
    """Make the catalog again from the remote; broken off, it goes on where it was.

    The old one stays in use until the new one is complete.
    """
    return app.on_each_remote(_rebuild)


def _rebuild(app: App) -> None:
    path = app.catalog_path
    new = path.with_name(f"{path.name}.rebuild")
    with exclusive(app.lock_path, "rebuild"), open_configured(app.config) as repository:
        with Catalog(new) as catalog:
            before = len(catalog.manifests())
            read = sync_catalog(repository.store.data, catalog, app.progress)
            points = len(catalog.points())
            catalog.settle()
        _take_the_place(new, path)
    app.emit({"points": points, "manifests_read": read, "resumed": before > 0})
    app.say(f"catalog made again: {plural(points, 'point')}" + (" (resumed)" if before else ""))


def _take_the_place(new: Path, old: Path) -> None:
    # SQLite would apply what is left of the old one to the new, and cannot read the old one without it.
    for tail in ("", "-wal", "-shm"):
        old.with_name(old.name + tail).unlink(missing_ok=True)
    new.replace(old)
