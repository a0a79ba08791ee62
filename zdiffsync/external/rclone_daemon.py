"""A long-lived rclone (`rcd --rc-serve`) on a private unix socket: small calls without a process start.

Behind every listing, size, ranged read and deletion. Started at the first call, started again if it
died, ended with us: the thread that starts it lives as long as it does, and the kernel ends rclone
when that thread dies, even of SIGKILL.
Rule: the socket lies in a folder of mode 0700, and user and password are random and go by environment.
"""

import http.client
import json
import os
import queue
import secrets
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPResponse
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Any
from urllib.parse import quote

from zdiffsync.errors import ObjectMissingError, RemoteError, ToolError
from zdiffsync.external.process import end_tool, start_tool
from zdiffsync.external.rclone_env import RcloneSetup, last_line
from zdiffsync.external.rclone_http import ConnectionPool

_START = 30.0  # seconds until the socket must answer
_KEPT_LINES = 20
_ATTEMPTS = 3  # one on a kept connection, one on a fresh one, one with a fresh rclone
_DYING = 2.0  # seconds from a refused connection until the process must be gone, else it lives


class RcloneDaemon:
    """Calls of one repository's rclone; safe to use from several threads."""

    def __init__(self, setup: RcloneSetup) -> None:
        self.setup = setup
        self._lock = threading.Lock()
        self._serving: _Serving | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process id of the running rclone, None before the first call."""
        return None if self._serving is None else self._serving.child.pid

    def call(self, command: str, **parameters: Any) -> dict[str, Any]:
        """Call a remote-control command such as `operations/stat`; returns its JSON answer.

        Raises ObjectMissingError for a missing object or folder, RemoteError for everything else.
        """
        body = json.dumps(parameters).encode()
        headers = {"Content-Type": "application/json"}
        with self._request("POST", f"/{command}", body=body, headers=headers) as response:
            answer = self._answer(response)
            if response.status != http.client.OK:
                raise self._failure(command, answer, response.status)
        return answer

    def size(self, fs: str, name: str) -> int | None:
        """Return an object's size in bytes, None when it is not there. Raises RemoteError."""
        item = self.call("operations/stat", fs=fs, remote=name)["item"]
        return None if item is None or item["IsDir"] else int(item["Size"])

    @contextmanager
    def open(self, fs: str, name: str, offset: int = 0, length: int | None = None) -> Iterator[HTTPResponse]:
        """Open an object for reading from `offset`, at most `length` bytes (None: to its end).

        The response's status is 200, 206, or what rclone answers when it could not open the object.
        Raises ObjectMissingError, RemoteError; reading raises OSError and http.client.HTTPException.
        """
        headers = {}
        if offset or length is not None:
            headers["Range"] = f"bytes={offset}-{'' if length is None else offset + length - 1}"
        with self._request("GET", f"/{quote(f'[{fs}]')}/{quote(name)}", headers=headers) as response:
            json_error = response.headers.get_content_type() == "application/json"
            if json_error and response.status >= http.client.BAD_REQUEST:
                raise self._failure(name, self._answer(response), response.status)
            yield response

    def close(self) -> None:
        """End rclone; later calls raise RemoteError."""
        with self._lock:
            self._closed = True
            if self._serving is not None:
                self._serving.stop()
                self._serving = None

    def _answer(self, response: HTTPResponse) -> dict[str, Any]:
        try:
            return dict(json.loads(response.read()))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise RemoteError(f"{self.setup.remote}: rclone broke off its answer: {error}") from error

    def _failure(self, what: str, answer: dict[str, Any], status: int) -> RemoteError:
        kind = ObjectMissingError if status == http.client.NOT_FOUND else RemoteError
        return kind(f"{self.setup.remote}: {what}: {answer.get('error')}")

    @contextmanager
    def _request(
        self, method: str, url: str, *, body: bytes | None = None, headers: dict[str, str]
    ) -> Iterator[HTTPResponse]:
        with ExitStack() as stack:
            patience = self.setup.patience
            for attempt in range(_ATTEMPTS):
                serving = self._ensure()
                try:
                    request = serving.pool.request(method, url, body=body, headers=headers, timeout=patience)
                    response = stack.enter_context(request)
                    break
                except TimeoutError as error:
                    what = f"{self.setup.remote}: rclone gave no answer within {patience:g} s; try again"
                    raise RemoteError(what) from error
                except (OSError, http.client.HTTPException) as error:
                    if attempt == _ATTEMPTS - 1:
                        raise RemoteError(f"{self.setup.remote}: rclone broke off: {error}") from error
                    serving.pool.drop_idle()
                    with suppress(subprocess.TimeoutExpired):
                        serving.child.wait(attempt * _DYING)
            yield response

    def _ensure(self) -> "_Serving":
        with self._lock:
            if self._closed:
                raise RemoteError(f"{self.setup.remote} is closed")
            if self._serving is not None and self._serving.child.poll() is not None:
                self._serving.stop()
                self._serving = None
            if self._serving is None:
                self._serving = _Serving(self.setup)
            return self._serving


class _Serving:
    """One running rclone, its socket and the thread that keeps it."""

    def __init__(self, setup: RcloneSetup) -> None:
        self._folder = TemporaryDirectory(prefix="zdiffsync-")
        path = os.path.join(self._folder.name, "rc")
        user, password = secrets.token_hex(16), secrets.token_hex(16)
        self.pool = ConnectionPool(path, user, password)
        self._lines: deque[bytes] = deque(maxlen=_KEPT_LINES)
        started: queue.Queue[subprocess.Popen[bytes] | ToolError] = queue.Queue()
        self._thread = threading.Thread(
            target=self._keep,
            args=(
                [setup.binary, "rcd", "--rc-serve", "--rc-addr", f"unix://{path}"],
                setup.environment | {"RCLONE_RC_USER": user, "RCLONE_RC_PASS": password},
                started,
            ),
            name="rclone",
            daemon=True,
        )
        self._thread.start()
        child = started.get()
        if isinstance(child, ToolError):
            self._folder.cleanup()
            raise child
        self.child = child
        try:
            self._wait_until_ready(setup.remote)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End rclone and remove its socket."""
        self.pool.close()
        end_tool(self.child)
        self._thread.join(_DYING)
        self._folder.cleanup()

    def _keep(
        self,
        argv: list[str],
        environment: dict[str, str],
        started: "queue.Queue[subprocess.Popen[bytes] | ToolError]",
    ) -> None:
        try:
            with start_tool(argv, env=environment, umask=0o077) as child:
                started.put(child)
                self._lines.extend(child.stderr or ())
                child.wait()
        except ToolError as error:
            started.put(error)

    def _wait_until_ready(self, remote: str) -> None:
        end = monotonic() + _START
        while self.child.poll() is None and monotonic() < end:
            try:
                with self.pool.request("POST", "/rc/noop", headers={}, timeout=_START) as response:
                    response.read()
                    return
            except (OSError, http.client.HTTPException):
                sleep(0.01)
        end_tool(self.child)
        self._thread.join(_DYING)
        raise RemoteError(f"{remote}: rclone did not start: {last_line(b''.join(self._lines))}")
