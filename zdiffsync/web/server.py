"""The server: one socket, one gate, a thread for each request.

Behind `zdiffsync web`. Rule: listens where this machine alone can reach it, unless told clearly; ends with
Ctrl-C or SIGTERM.
"""

import ipaddress
import socket

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from zdiffsync.errors import UsageError
from zdiffsync.web.app import make_app
from zdiffsync.web.gate import Gate
from zdiffsync.web.source import Source

_IDLE = 60.0  # seconds for a request to come, and for a reader of an answer to go on


class _Quiet(WSGIRequestHandler):
    """Says nothing of single requests, nor of what it is made with."""

    timeout = _IDLE
    server_version = "zdiffsync"
    sys_version = ""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


def open_server(source: Source, address: str, port: int, *, exposed: bool) -> tuple[BaseWSGIServer, str]:
    """Return a server that listens, and the URL to open. `port` 0: one that is free.

    Its `serve_forever` answers until Ctrl-C. Raises UsageError when the address may not be used without
    `exposed`, or cannot be.
    """
    with _listen(address, port, exposed=exposed) as listening:
        port = listening.getsockname()[1]
        gate = Gate(address, port)
        server = make_server(
            address,
            port,
            make_app(source, gate),
            threaded=True,
            request_handler=_Quiet,
            fd=listening.fileno(),
        )
    host = f"[{address}]" if ":" in address else address
    return server, f"http://{host}:{port}/?token={gate.token}"


def _listen(address: str, port: int, *, exposed: bool) -> socket.socket:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError as error:
        raise UsageError(f"{address!r} is no IP address; --listen takes one like 127.0.0.1") from error
    if not ip.is_loopback and not exposed:
        raise UsageError(
            f"{address} can be reached from other machines, and nothing would be encrypted; use ssh -L, or "
            "say --expose as well"
        )
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6  # noqa: PLR2004 - of IP
    try:
        return socket.create_server((address, port), family=family)
    except OSError as error:
        raise UsageError(f"cannot listen on {address} port {port}: {error.strerror}") from error
