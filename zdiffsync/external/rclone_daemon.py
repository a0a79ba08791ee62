"""One long-lived rclone for everything but uploads: listing, stat, ranged reads, deleting.

`rclone rcd --rc-serve` on a private unix socket, spoken to over HTTP. Rule: it dies with us, even
when we are killed (setpriv --pdeathsig), and answers nobody but us.
"""

import base64
import http.client
import json
import os
import secrets
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from zdiffsync.errors import IntegrityError, ObjectMissingError, RemoteError
from zdiffsync.external.rclone_env import rclone_binary

_START = 30.0  # seconds until the socket must answer
_TIMEOUT = 300.0  # seconds for one answer; rclone retries below us meanwhile
_OK, _PARTIAL, _NOT_FOUND = 200, 206, 404


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(self._path)


class RcloneDaemon:
    """A running `rclone rcd`. Safe to use from several threads. Raises RemoteError when it won't start."""

    def __init__(self, *, bwlimit: str | None = None) -> None:
        self._folder = TemporaryDirectory(prefix="zdiffsync-rc-")
        self._socket = str(Path(self._folder.name) / "s")
        user, password = secrets.token_hex(8), secrets.token_hex(16)
        self._authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self._local = threading.local()
        argv = [
            "setpriv", "--pdeathsig", "KILL", "--", rclone_binary(), "rcd", "--rc-serve",
            "--rc-addr", f"unix://{self._socket}",
        ]  # fmt: skip
        if bwlimit is not None:
            argv += ["--bwlimit", bwlimit]
        self._log = (Path(self._folder.name) / "log").open("wb+")
        self._child = subprocess.Popen(
            argv, env={**os.environ, "RCLONE_RC_USER": user, "RCLONE_RC_PASS": password}, umask=0o077,
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True,
        )  # fmt: skip
        self._wait_until_up()

    def close(self) -> None:
        """End it."""
        self._child.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(5)
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        if connection := getattr(self._local, "connection", None):
            connection.close()
        self._log.close()
        self._folder.cleanup()

    def call(self, command: str, **parameters: Any) -> dict[str, Any]:
        """Run a remote-control command. Raises ObjectMissingError, RemoteError."""
        body = json.dumps(parameters).encode()
        status, data = self._request("POST", "/" + command, body, {"Content-Type": "application/json"})
        answer = json.loads(data or b"{}")
        if status != _OK:
            said = str(answer.get("error", f"status {status}"))
            if "not found" in said:
                raise ObjectMissingError(f"{parameters.get('remote') or parameters.get('fs')}: {said}")
            raise RemoteError(f"rclone {command}: {said}")
        return dict(answer)

    def read(self, remote: str, name: str, offset: int, length: int) -> bytes:
        """Return bytes [offset, offset + length) of an object; fewer only at its end.

        Raises ObjectMissingError, IntegrityError when crypt cannot authenticate, RemoteError.
        """
        path = f"/{quote(f'[{remote}]')}/{quote(name)}"
        status, data = self._request("GET", path, None, {"Range": f"bytes={offset}-{offset + length - 1}"})
        if status in {_OK, _PARTIAL}:
            return data
        said = data.decode(errors="replace").strip()
        if status == _NOT_FOUND:
            raise ObjectMissingError(f"{name} is not on the remote")
        if "authenticate" in said or "magic" in said:
            raise IntegrityError(f"{name} cannot be decrypted: it is damaged, or the password is wrong")
        raise RemoteError(f"reading {name}: {said or f'status {status}'}")

    def _request(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        headers = {**headers, "Authorization": self._authorization}
        for attempt in (1, 2):
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = _UnixConnection(self._socket)
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                return response.status, response.read()
            except http.client.IncompleteRead as error:
                connection.close()
                raise IntegrityError(
                    f"{path.rpartition('/')[2]} broke off while reading: it is damaged or truncated"
                ) from error
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._local.connection = None
                if attempt == 2 or self._child.poll() is not None:  # noqa: PLR2004 - the last attempt
                    raise RemoteError(f"rclone does not answer: {error or 'it ended'}{self._last_words()}") from error
        raise AssertionError("unreachable")

    def _wait_until_up(self) -> None:
        until = time.monotonic() + _START
        while time.monotonic() < until:
            if self._child.poll() is not None:
                raise RemoteError(f"rclone could not be started{self._last_words()}")
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                    probe.connect(self._socket)
            except OSError:
                time.sleep(0.02)
            else:
                return
        self._child.kill()
        raise RemoteError(f"rclone did not come up within {_START:.0f} s{self._last_words()}")

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return f"; it said: {lines[-1]}" if lines else ""
