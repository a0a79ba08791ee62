"""The remote as two areas of objects: `plain` at its root, `data` encrypted by rclone crypt.

Between the backup and restore flows and rclone. Rule: an object is written once, and what was
uploaded counts only after its size has been read back.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from zdiffsync.errors import IntegrityError, ObjectMissingError, RemoteError
from zdiffsync.external.rclone import upload
from zdiffsync.external.rclone_daemon import RcloneDaemon
from zdiffsync.external.rclone_env import define
from zdiffsync.store.secret import Secret

_STEP = 16 << 20


class Area:
    """Objects below one rclone remote. Names are relative to it; sizes are of the plain bytes."""

    def __init__(self, daemon: RcloneDaemon, remote: str, *, transfers: int, bwlimit: str | None) -> None:
        self._daemon = daemon
        self._transfers, self._bwlimit = transfers, bwlimit
        self.remote_name = remote

    def upload(self, stage: Path, names: Sequence[str], progress: Callable[[int], None]) -> None:
        """Upload the files `names` below `stage` and verify that each arrived whole.

        `progress` is told bytes as they go. Raises RemoteError.
        """
        upload(
            stage, names, self.remote_name, progress, transfers=self._transfers, bwlimit=self._bwlimit
        )
        for name in names:
            expected, found = (stage / name).stat().st_size, self.size(name)
            if found != expected:
                what = "is not there" if found is None else f"has {found} bytes instead of {expected}"
                raise RemoteError(f"{name} {what} after its upload; run again")

    def put(self, name: str, data: bytes) -> None:
        """Write one small object. Raises RemoteError, also when another one has the name."""
        with TemporaryDirectory(prefix="zdiffsync-put-") as folder:
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            self.upload(Path(folder), [name], lambda _sent: None)

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return name and size in bytes of every object below `prefix`; nothing when it is not there."""
        options = {"recurse": True, "filesOnly": True, "noModTime": True, "noMimeType": True}
        try:
            found = self._daemon.call("operations/list", fs=self.remote_name, remote=prefix, opt=options)
        except ObjectMissingError:
            return {}
        return {item["Path"]: item["Size"] for item in found["list"] or ()}

    def size(self, name: str) -> int | None:
        """Return an object's size in bytes, None when it is not there."""
        item = self._daemon.call("operations/stat", fs=self.remote_name, remote=name)["item"]
        return None if item is None else int(item["Size"])

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes. Raises ObjectMissingError, IntegrityError, RemoteError."""
        if length == 0:
            return b""
        data = self._daemon.read(self.remote_name, name, offset, length)
        if len(data) != length:
            raise IntegrityError(f"{name} gave {len(data)} of {length} bytes at {offset}: it is truncated")
        return data

    def read_all(self, name: str) -> bytes:
        """Return a whole object. Raises like `read`."""
        size = self.size(name)
        if size is None:
            raise ObjectMissingError(f"{name} is not on the remote")
        return self.read(name, 0, size)

    def download(self, name: str, path: Path, progress: Callable[[int], None]) -> None:
        """Write a whole object to a local file. Raises like `read`."""
        size = self.size(name)
        if size is None:
            raise ObjectMissingError(f"{name} is not on the remote")
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            for at in range(0, size, _STEP):
                data = self.read(name, at, min(_STEP, size - at))
                out.write(data)
                progress(len(data))

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects; one that is not there is no error."""
        for name in names:
            try:
                self._daemon.call("operations/deletefile", fs=self.remote_name, remote=name)
            except ObjectMissingError:
                continue


class Store:
    """One opened remote. A context manager; `password` None opens only the plain area."""

    def __init__(
        self,
        remote: str,
        password: Secret | None,
        repository: str,
        *,
        transfers: int = 4,
        bwlimit: str | None = None,
    ) -> None:
        self._remotes = define(remote, password.crypt_passwords(repository) if password else None)
        self._remotes.install()
        self._daemon = RcloneDaemon(bwlimit=bwlimit)
        self.plain = Area(self._daemon, self._remotes.plain, transfers=transfers, bwlimit=bwlimit)
        self.data = Area(self._daemon, self._remotes.data, transfers=transfers, bwlimit=bwlimit)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that define our remotes, for other tools that start rclone."""
        return dict(self._remotes.variables)

    def close(self) -> None:
        """End rclone and forget the remotes."""
        self._daemon.close()
        self._remotes.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
