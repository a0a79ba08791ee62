"""`zdiffsync rebuild`: the catalog made again from the manifests on the remote."""

import click

from zdiffsync.backup.sync import sync_catalog
from zdiffsync.cli.context import App, pass_app
from zdiffsync.cli.text import plural
from zdiffsync.config.opening import open_catalog, open_configured
from zdiffsync.external.lock import exclusive


@click.command()
@pass_app
def rebuild(app: App) -> int:
    """Make the catalog again from the remote; broken off, it goes on where it was.

    The old one stays in use until the new one is complete.
    """
    return app.on_each_remote(_rebuild)


def _rebuild(app: App) -> None:
    with (
        exclusive(app.lock_path, "rebuild"),
        open_configured(app.config) as repository,
        open_catalog(app.config, anew=True) as catalog,
    ):
        before = len(catalog.manifests())
        read = sync_catalog(repository.store.data, catalog, app.progress)
        points = len(catalog.points())
    app.emit({"points": points, "manifests_read": read, "resumed": before > 0})
    app.say(f"catalog made again: {plural(points, 'point')}" + (" (resumed)" if before else ""))
