"""`zdiffsync mount`: all points as directories."""

from pathlib import Path

import click

from zdiffsync.cli.context import App, pass_app


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, readable=False))
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground; end with Ctrl-C.")
@click.option("--allow-other", is_flag=True, help="Let other users in, as far as owners and modes do.")
@click.option("--no-local", is_flag=True, help="Read nothing from local snapshots.")
@pass_app
def mount(app: App, directory: Path, *, foreground: bool, allow_other: bool, no_local: bool) -> int:
    """Mount all restore points read-only on an empty directory."""
    from zdiffsync.mount import background  # noqa: PLC0415 - no other command needs FUSE
    from zdiffsync.mount.mountpoint import prepare  # noqa: PLC0415
    from zdiffsync.mount.points import Source  # noqa: PLC0415
    from zdiffsync.mount.session import Mounting, serve  # noqa: PLC0415

    state = app.config.state
    directory = prepare(directory)
    if not foreground and (code := background.split()) is not None:
        return code
    end_log = background.log_to(None if foreground else state / "mount.log")
    try:
        with app.reading() as reading:
            local = None if no_local else reading.local
            source = Source(reading.catalog, reading.bases, reading.fetch, local)

            def ready() -> None:
                app.say(f"mounted on {directory}; unmount with: fusermount3 -u {directory}")
                background.settled()

            serve(source, Mounting(directory, shared=allow_other), ready)
    finally:
        end_log()
    return 0
