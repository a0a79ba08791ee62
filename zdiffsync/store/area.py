"""One area of a remote: objects written once, verified, read by range or whole.

Between the backup and restore flows and rclone. Rule: what was uploaded counts only after its size
has been read back.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TypeVar

from zdiffsync.errors import IntegrityError, ObjectMissingError, RemoteError
from zdiffsync.external.rclone_daemon import RcloneDaemon
from zdiffsync.external.rclone_read import read_chunks
from zdiffsync.external.rclone_send import send
from zdiffsync.external.rclone_upload import check_name

_Result = TypeVar("_Result")
_PARTIAL = ".partial"  # what rclone calls an object on disk-like remotes until it is complete


class Area:
    """Objects below one rclone remote. Names are relative to it; sizes are of the plain bytes.

    `remote_name` is the remote as rclone knows it, such as `zdplain:`; `received` are the plain bytes read
    from it so far. Safe to use from several threads.
    """

    def __init__(self, daemon: RcloneDaemon, remote_name: str, transfers: int) -> None:
        self._daemon, self._transfers = daemon, transfers
        self._counting = Lock()
        self.remote_name = remote_name
        self.received = 0

    def upload(self, stage: Path, names: Sequence[str], progress: Callable[[int], None]) -> None:
        """Upload the files `names` below the folder `stage`, then verify that each arrived whole.

        Doing it again with the same files is no error. `progress` gets the bytes sent since its last
        call, in sum the size of all files. Raises RemoteError, also for a name that exists already
        with other content, ValueError for a name outside [A-Za-z0-9._/-].
        """
        expected = {name: (stage / check_name(name)).stat().st_size for name in names}
        if not expected:
            return
        left = sum(expected.values())

        def count(sent: int) -> None:
            nonlocal left
            sent = min(sent, left)  # what rclone sends again after a failure is no progress
            left -= sent
            progress(sent)

        send(self._daemon, self.remote_name, stage, expected, count, transfers=self._transfers)
        found = self._each(self.size, expected)
        for (name, size), there in zip(expected.items(), found, strict=True):
            if there != size:
                what = "is not there" if there is None else f"has {there} bytes instead of {size}"
                raise RemoteError(f"{self._place(name)} {what} after its upload; run again")
        count(left)

    def put(self, name: str, data: bytes) -> None:
        """Write one small object. Raises RemoteError, also when one of that name exists."""
        if (size := self.size(name)) is not None:
            raise RemoteError(f"{self._place(name)} exists already ({size} bytes) and is never replaced")
        with TemporaryDirectory(prefix="zdiffsync-") as folder:
            path = Path(folder, check_name(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            self.upload(Path(folder), [name], lambda _sent: None)

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return name and size in bytes of every object below the folder `prefix` ('' for all).

        Nothing when there is no such folder; objects whose upload broke off are left out.
        Raises RemoteError.
        """
        return {name: size for name, size in self._list(prefix).items() if not name.endswith(_PARTIAL)}

    def partials(self, prefix: str) -> dict[str, int]:
        """Return name and size in bytes of what broken uploads left below `prefix`, for deletion."""
        return {name: size for name, size in self._list(prefix).items() if name.endswith(_PARTIAL)}

    def size(self, name: str) -> int | None:
        """Return an object's size in bytes, None when it is not there. Raises RemoteError."""
        return self._daemon.size(self.remote_name, check_name(name))

    def modified(self, names: Iterable[str]) -> dict[str, datetime]:
        """Return when these objects were made, by the clock of whoever did or of the remote.

        One that is not there is left out. Raises RemoteError.
        """
        times = zip(names := list(names), self._each(self._modified, names), strict=True)
        return {name: time for name, time in times if time is not None}

    def _modified(self, name: str) -> datetime | None:
        item = self._daemon.call("operations/stat", fs=self.remote_name, remote=check_name(name))["item"]
        return None if item is None else datetime.fromisoformat(item["ModTime"]).astimezone(UTC)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`.

        Raises ObjectMissingError, IntegrityError for an object too short, damaged or encrypted with
        another password, RemoteError.
        """
        return b"".join(self._chunks(name, offset, length))

    def read_up_to(self, name: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, or fewer (one at least) up to the end; like `read`."""
        return b"".join(self._chunks(name, offset, length, up_to_end=True))

    def read_all(self, name: str, most: int) -> bytes:
        """Return a whole object. Raises like `read`, but cannot notice a cut at a block's end.

        One of more than `most` bytes is an IntegrityError, before it has filled the memory.
        """
        found: list[bytes] = []
        size = 0
        for chunk in self._chunks(name):
            size += len(chunk)
            if size > most:
                raise IntegrityError(f"{self._place(name)} has more than the {most} bytes it may have")
            found.append(chunk)
        return b"".join(found)

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a whole object as they come; like `read_all`."""
        return self._chunks(name)

    def download(self, name: str, path: Path, progress: Callable[[int], None]) -> None:
        """Write a whole object to a new private file at `path`, or leave none; like `read_all`.

        `progress` gets the bytes written since its last call.
        """
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as out:
                for chunk in self._chunks(name):
                    out.write(chunk)
                    progress(len(chunk))
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _chunks(
        self, name: str, offset: int = 0, length: int | None = None, *, up_to_end: bool = False
    ) -> Iterator[bytes]:
        for chunk in read_chunks(
            self._daemon, self.remote_name, check_name(name), offset, length, up_to_end=up_to_end
        ):
            with self._counting:
                self.received += len(chunk)
            yield chunk

    def move(self, name: str, new: str) -> None:
        """Give an object another name. Raises ObjectMissingError, RemoteError."""
        self._daemon.call(
            "operations/movefile",
            srcFs=self.remote_name, srcRemote=check_name(name),
            dstFs=self.remote_name, dstRemote=check_name(new),
        )  # fmt: skip

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects; one that is not there is no error. Raises RemoteError."""
        self._each(self._delete, names)

    def _delete(self, name: str) -> None:
        with suppress(ObjectMissingError):
            self._daemon.call("operations/deletefile", fs=self.remote_name, remote=check_name(name))

    def _list(self, prefix: str) -> dict[str, int]:
        options = {"recurse": True, "filesOnly": True, "noModTime": True, "noMimeType": True}
        try:
            answer = self._daemon.call("operations/list", fs=self.remote_name, remote=prefix, opt=options)
        except ObjectMissingError:
            return {}
        return {item["Path"]: item["Size"] for item in answer["list"] or ()}

    def _each(self, call: Callable[[str], _Result], names: Iterable[str]) -> list[_Result]:
        with ThreadPoolExecutor(self._transfers) as pool:
            return list(pool.map(call, names))

    def _place(self, name: str) -> str:
        return self._daemon.setup.place(self.remote_name, name)
