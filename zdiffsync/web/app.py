"""The pages by their addresses, and what they share: the look of sizes and times, errors in one sentence.

Rule: templates escape by themselves, and every path goes through model.text.shown first.
"""

from collections.abc import Callable
from functools import partial

from flask import Flask, Response, render_template
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from zdiffsync.errors import RemoteError, UsageError, ZdiffsyncError
from zdiffsync.model.text import local, plural, shown, size
from zdiffsync.web import browse, dataset, diff, download, overview, search, times, versions
from zdiffsync.web.gate import Gate
from zdiffsync.web.links import link
from zdiffsync.web.source import Source

_PAGES: dict[str, Callable[[Source], ResponseReturnValue]] = {
    "/": overview.page,
    "/dataset": dataset.page,
    "/browse": browse.page,
    "/versions": versions.page,
    "/search": search.page,
    "/diff": diff.page,
    "/file": download.file,
    "/tar": download.tar,
}


def make_app(source: Source, gate: Gate) -> Flask:
    """Return the application."""
    app = Flask("zdiffsync.web", static_folder="static", template_folder="templates")
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters |= {
        "shown": shown, "size": size, "local": local, "minute": times.minute, "age": times.age,
        "date": times.day_of, "until": times.until, "plural": plural, "permissions": browse.permissions,
        "device": browse.device,
    }  # fmt: skip
    app.jinja_env.globals |= {"link": link, "remote": source.remote}
    gate.install(app)
    for address, page in _PAGES.items():
        app.add_url_rule(address, address, partial(page, source), provide_automatic_options=False)
    app.register_error_handler(ZdiffsyncError, _explain)
    app.register_error_handler(HTTPException, _refuse)
    return app


def _explain(error: ZdiffsyncError) -> ResponseReturnValue:
    status = 404 if isinstance(error, UsageError) else 502 if isinstance(error, RemoteError) else 500
    text = str(error).encode(errors="backslashreplace").decode()
    return render_template("error.html", title="That did not work", text=text), status


def _refuse(error: HTTPException) -> ResponseReturnValue | HTTPException:
    if error.code is None or isinstance(error.response, Response):
        return error
    return render_template("error.html", title=error.name, text=error.description), error.code
