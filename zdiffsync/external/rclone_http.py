"""HTTP to rclone over a unix socket, by as many threads as like to.

Between the daemon's calls and its socket. Rule: a connection serves one request at a time, and one
that failed is never used again.
"""

import base64
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse


class _UnixConnection(HTTPConnection):
    """A connection to a socket file, waiting at most `timeout` seconds for each answer."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("rclone", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket file."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self._path)
        except OSError:
            self.close()
            raise


class ConnectionPool:
    """Open connections to one socket; `user` and `password` go with every request."""

    def __init__(self, path: str, user: str, password: str) -> None:
        self._path = path
        credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {credentials}"}
        self._idle: deque[_UnixConnection] = deque()
        self._closed = False

    @contextmanager
    def request(
        self, method: str, url: str, *, body: bytes | None = None, headers: dict[str, str], timeout: float
    ) -> Iterator[HTTPResponse]:
        """Send a request and give its response; `timeout` in seconds for each wait.

        The connection is kept for the next request if the response was read to its end.
        Raises OSError (TimeoutError among them) and http.client.HTTPException.
        """
        connection = self._take(timeout)
        try:
            connection.request(method, url, body, self._headers | headers)
            response = connection.getresponse()
            yield response
        except BaseException:
            connection.close()
            raise
        if response.isclosed() and not response.will_close and not self._closed:
            self._idle.append(connection)
        else:
            response.close()
            connection.close()

    def drop_idle(self) -> None:
        """Close the idle connections: the next request opens its own."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def close(self) -> None:
        """Close the idle connections and keep none from here on."""
        self._closed = True
        self.drop_idle()

    def _take(self, timeout: float) -> _UnixConnection:
        try:
            connection = self._idle.pop()
        except IndexError:
            return _UnixConnection(self._path, timeout)
        connection.timeout = timeout
        connection.sock.settimeout(timeout)
        return connection
