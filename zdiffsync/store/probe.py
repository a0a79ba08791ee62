"""Trying a remote: write, list, read, read a part, delete; with the time each took and the rate of the line.

For `init` before anything is set up, and for `doctor`. Needs no repository and no password. Rule: nothing of
others is touched, and what was written is deleted again, whatever happens.
"""

import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep, time
from typing import Any

from zdiffsync.errors import ObjectMissingError, RemoteError, ToolStalledError, ZdiffsyncError
from zdiffsync.external.rclone_daemon import RcloneDaemon
from zdiffsync.external.rclone_env import NO_OPTIONS, PLAIN, plain_setup
from zdiffsync.external.rclone_read import cat, read_chunks
from zdiffsync.external.rclone_remotes import Abilities, abilities, free_space

_SMALL = 64 << 10  # bytes
_LARGER = (1 << 20, 8 << 20)  # bytes; written only while the line is quick
_SHORTEST = 1e-4  # seconds; less is noise
_ENOUGH = 2.0  # seconds of one upload that tell the rate well enough
_PART = (1000, 100)  # offset and length of the ranged read
_LISTED = 10.0  # seconds until a new object must be listed
_SEED = secrets.token_bytes(_LARGER[-1])
_NAME = f"{'0123456789abcdef' * 3}-000000.0.manifest"  # as long as our longest names


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried: how many seconds it took, or why it failed."""

    name: str
    seconds: float
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """What a remote did. `upload_rate` in bytes a second; `free` bytes, None where it does not tell.

    `there`: whether the folder, or anything with that beginning of a name, was there before.

    `ahead`: seconds by which the server's clock is ahead of ours, None where it does not show.
    """

    steps: tuple[Step, ...]
    abilities: Abilities
    upload_rate: float
    ahead: float | None
    free: int | None
    there: bool

    @property
    def unusable(self) -> Step | None:
        """The first step that failed and that no backup can do without; None when there is none."""
        return next((step for step in self.steps if step.problem and step.name != "delete"), None)


def probe(
    remote: str,
    *,
    patience: float = 60.0,
    options: Mapping[str, str] = NO_OPTIONS,
    told: Callable[[str], None] = lambda _step: None,
) -> Probe:
    """Try `remote` (as in the configuration). `patience`: seconds that one step may take.

    `options`: variables of rclone's, as in `plain_setup`. `told` hears the name of each step as it begins.
    Raises RemoteError when the remote cannot be reached or nothing can be written; ConfigError,
    ToolMissingError.
    """
    daemon = RcloneDaemon(plain_setup(remote, patience=patience, options=options))
    try:
        return _Prober(daemon, told).run()
    finally:
        daemon.close()


class _Prober:
    def __init__(self, daemon: RcloneDaemon, told: Callable[[str], None]) -> None:
        self._daemon, self._told = daemon, told
        self._folder = f"zdiffsync-probe-{secrets.token_hex(4)}"
        self._steps: list[Step] = []

    def run(self) -> Probe:
        self._told("reach")
        started = monotonic()
        can = self._abilities()
        was_there = self._exists()
        self._steps.append(Step("reach", monotonic() - started))
        try:
            seconds, free, ahead = self._try(can)
            rate = _SMALL / max(seconds, _SHORTEST)
            if self._steps[-1].problem is None:  # or each trial would leave megabytes
                rate = self._rate(_SMALL, seconds)
        finally:
            for folder in [self._folder] if was_there else [self._folder, ""]:
                with suppress(RemoteError):  # many remotes have no folders
                    self._call("operations/rmdir", remote=folder)
        return Probe(tuple(self._steps), can, rate, ahead, free, was_there)

    def _try(self, can: Abilities) -> tuple[float, int | None, float | None]:
        """Write, list, read and delete a small object; return the seconds of the first, and as in Probe."""
        name = f"{self._folder}/{_NAME}"
        try:
            self._told("write")
            seconds = self._put(_NAME, _SMALL)
            self._steps.append(Step("write", seconds))
            free = free_space(self._daemon) if can.tells_space else None
            ahead = self._ahead(can)
            self._attempt("list", self._listed)
            self._attempt("read", lambda: self._compare(name, 0, _SMALL))
            self._attempt("read part", lambda: self._compare(name, *_PART))
        finally:
            self._attempt("delete", self._delete)
        return seconds, free, ahead

    def _abilities(self) -> Abilities:
        try:
            return abilities(self._daemon)
        except RemoteError:
            setup = self._daemon.setup
            try:  # once more: the running rclone can blame a file for a refused key
                cat(setup, PLAIN, "zdiffsync.json", 0, 1)
            except ToolStalledError as error:
                raise RemoteError(f"{setup.remote} gives no answer within {setup.patience:g} s") from error
            except ObjectMissingError:
                pass
            raise

    def _exists(self) -> bool:
        try:
            self._call("operations/list", remote="", opt={"noModTime": True, "noMimeType": True})
        except ObjectMissingError:
            return False
        return True

    def _delete(self) -> None:
        with suppress(ObjectMissingError):
            for entry in self._call("operations/list", remote=self._folder)["list"] or ():
                self._call("operations/deletefile", remote=entry["Path"])

    def _put(self, name: str, size: int) -> float:
        """Write one object; return the seconds it took."""
        with TemporaryDirectory(prefix="zdiffsync-") as folder:
            Path(folder, name).write_bytes(_content(size))
            started = monotonic()
            self._call(
                "operations/copyfile",
                srcFs=folder, srcRemote=name, dstFs=PLAIN, dstRemote=f"{self._folder}/{name}",
            )  # fmt: skip
            return monotonic() - started

    def _rate(self, size: int, seconds: float) -> float:
        """Measure the line by larger objects, after one of `size` bytes took `seconds`; return bytes/s.

        What each object costs by itself is taken off where it shows.
        """
        self._told("measure")
        rate = size / max(seconds, _SHORTEST)
        try:
            for larger in _LARGER:
                if seconds > _ENOUGH:
                    break
                took = self._put(f"{larger}.measured", larger)
                more = took - seconds
                rate = (larger - size) / more if more > _SHORTEST else larger / max(took, _SHORTEST)
                size, seconds = larger, took
        except RemoteError:
            return rate  # it works all the same, for objects as large as those before
        finally:
            with suppress(RemoteError):
                self._delete()
        return rate

    def _ahead(self, can: Abilities) -> float | None:
        """Compare clocks, by the time the server has given to the folder it just made."""
        if can.local or not can.folders:
            return None
        now = time()
        with suppress(RemoteError):
            item = self._call("operations/stat", remote=self._folder)["item"]
            return datetime.fromisoformat(item["ModTime"]).timestamp() - now
        return None

    def _listed(self) -> None:
        end = monotonic() + _LISTED
        while True:
            items = self._call("operations/list", remote=self._folder)["list"] or ()
            if [(item["Name"], item["Size"]) for item in items] == [(_NAME, _SMALL)]:
                return
            if monotonic() > end:
                found = ", ".join(f"{item['Name']} ({item['Size']} bytes)" for item in items) or "nothing"
                raise RemoteError(f"a new object is not listed after {_LISTED:g} s; there is {found}")
            sleep(0.5)

    def _compare(self, name: str, offset: int, length: int) -> None:
        found = b"".join(read_chunks(self._daemon, PLAIN, name, offset, length))
        if found != _content(offset + length)[offset:]:
            raise RemoteError("other bytes come back than were written")

    def _attempt(self, name: str, action: Callable[[], None]) -> None:
        self._told(name)
        started = monotonic()
        try:
            action()
        except ZdiffsyncError as error:
            self._steps.append(Step(name, monotonic() - started, str(error)))
        else:
            self._steps.append(Step(name, monotonic() - started))

    def _call(self, command: str, **parameters: Any) -> dict[str, Any]:
        if "srcFs" not in parameters:
            parameters["fs"] = PLAIN
        return self._daemon.call(command, **parameters)


def _content(size: int) -> bytes:
    return _SEED[:size]
