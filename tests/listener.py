"""A web server on loopback that remembers what was posted to it: a healthcheck, or a service of Apprise's."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Listener:
    """`posts` holds (path, body) of each request; paths with 'refuse' in them are answered by 500."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.posts))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.place = f"127.0.0.1:{self._server.server_port}"

    def messages(self) -> list[dict[str, Any]]:
        """What came through Apprise's json://."""
        return [json.loads(body) for _path, body in self.posts if body.startswith("{")]

    def pings(self) -> list[tuple[str, str]]:
        """What came for the healthcheck /ping."""
        return [(path.removeprefix("/ping"), body) for path, body in self.posts if path.startswith("/ping")]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(posts: list[tuple[str, str]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            posts.append((self.path, body))
            self.send_response(500 if "refuse" in self.path else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
