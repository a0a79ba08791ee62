"""`zdiffsync web`: all points in the browser."""

import logging
import sys

import click

from zdiffsync.cli.context import App, pass_app
from zdiffsync.errors import ToolMissingError


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default="a free one", help="Port.")
@click.option("--listen", "address", default="127.0.0.1", show_default=True, help="IP address to listen on.")
@click.option("--expose", is_flag=True, help="Let --listen be an address that other machines reach.")
@click.option("--no-local", is_flag=True, help="Read nothing from local snapshots.")
@pass_app
def web(app: App, port: int, address: str, *, expose: bool, no_local: bool) -> None:
    """Show all restore points as a web page on this machine."""
    try:
        from zdiffsync.web.server import open_server  # noqa: PLC0415 - no other command needs Flask
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in {"flask", "werkzeug"}:
            raise
        raise ToolMissingError(
            "the web page needs Flask; install it with: pipx inject zdiffsync flask (or pip install flask)"
        ) from error
    from zdiffsync.config.looking import look_of  # noqa: PLC0415
    from zdiffsync.maintain.status_look import look_at  # noqa: PLC0415
    from zdiffsync.web.source import Source  # noqa: PLC0415

    with app.reading() as reading:
        local = None if no_local else reading.local
        look = look_of(reading.config)
        source = Source(
            reading.catalog, reading.bases, reading.fetch, local, look.remote,
            lambda now_ns: look_at(look, reading.catalog, now_ns),
        )  # fmt: skip
        logging.basicConfig(format="zdiffsync: %(message)s")
        server, url = open_server(source, address, port, exposed=expose)
        app.emit({"url": url})
        app.show(f"open {url}")
        app.say("Ctrl-C ends it")
        sys.stdout.flush()
        server.serve_forever()
