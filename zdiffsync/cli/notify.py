"""`zdiffsync notify`: try out the [notify] table. Rule: no backup is needed for it, and none is pretended."""

import click

from zdiffsync.cli.context import App, pass_app
from zdiffsync.errors import ExitCode, RemoteError, UsageError
from zdiffsync.external.healthcheck import ping
from zdiffsync.external.messages import send

_BODY = "This is a test. Nothing was backed up, and nothing is wrong."


@click.command()
@pass_app
def notify(app: App) -> int:
    """Send a test message to every place that the configuration names."""
    config = app.config
    table, title = config.notify, f"zdiffsync on {config.host}: test"
    if not table.urls and table.healthcheck is None:
        raise UsageError("nobody is to be notified; name somebody in a [notify] table of the configuration")
    failed = []
    for number, address in enumerate(table.urls, 1):
        try:
            service = send(number, address, title, _BODY, "info")
            app.say(f"sent to urls: number {number} ({service})")
        except RemoteError as error:
            failed.append(str(error))
    if table.healthcheck is not None:
        try:
            ping(table.healthcheck, "log", f"{title}. {_BODY}")  # it is shown there and changes no state
            app.say("sent to the healthcheck")
        except RemoteError as error:
            failed.append(str(error))
    for text in failed:
        click.echo(f"zdiffsync: {text}", err=True)
    app.emit({"failed": failed})
    return int(ExitCode.REMOTE if failed else ExitCode.DONE)
