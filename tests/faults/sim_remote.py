"""A remote as rclone shows it, with what can go wrong with one.

Rule: an object is whole or under a `.partial` name, and never replaced by another, unless a fault says so.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sim

from zdiffsync.errors import IntegrityError, ObjectMissingError, RemoteError
from zdiffsync.external.rclone_env import DATA, RcloneSetup

_LAG = 2  # listings or looks that an object is late for


@dataclass(slots=True)
class SimRemote:
    """The objects by name, as they lie at the root of the remote; `late` counts how long some are not seen.

    `blind` are objects that are late not for listings alone.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    late: dict[str, int] = field(default_factory=dict)
    blind: set[str] = field(default_factory=set)

    def listed(self, prefix: str) -> dict[str, int]:
        return {
            name: len(data) for name, data in self.objects.items()
            if name.startswith(f"{prefix}/") and not self._late(name)
        }  # fmt: skip

    def seen(self, name: str) -> bytes | None:
        return None if name in self.blind and self._late(name) else self.objects.get(name)

    def _late(self, name: str) -> bool:
        left = self.late.get(name, 0)
        if left:
            self.late[name] = left - 1
        return left > 0


def _kind(operation: str, name: str) -> str:
    parts = name.removeprefix("data/").split("/")
    return f"remote.{operation}.{parts[0] if len(parts) > 1 else 'mark'}"


def _reached(operation: str, name: str) -> str:
    """Count a step of the remote; raises what goes wrong in it before it has an effect."""
    what = sim.steps().reached(_kind(operation, name))
    if sim.steps().dead == "remote":
        what = "down"
    match what:
        case "error":
            raise RemoteError(f"{name}: {operation} failed: too many requests (429): try again later")
        case "down":
            raise RemoteError(f"{name}: {operation} failed: dial tcp: no route to host")
        case "hang":
            raise RemoteError(f"rclone gave no answer within 900 s to {operation}; try again")
        case "gone":
            raise ObjectMissingError(f"{name} is not there")
    return what


def _done(what: str, operation: str) -> None:
    sim.steps().done(what)
    if what == "error-after":
        raise RemoteError(f"{operation} failed: connection reset before the answer; try again")


def _full(fs: str, name: str) -> str:
    folder = "data" if fs == DATA else ""
    return "/".join(part for part in (folder, name) if part)


class SimDaemon:
    """The calls of one rclone; see RcloneDaemon."""

    def __init__(self, setup: RcloneSetup) -> None:
        self.setup = setup

    def close(self) -> None:
        """Nothing runs."""

    def size(self, fs: str, name: str) -> int | None:
        full = _full(fs, name)
        what = _reached("size", full)
        data = sim.world().remote.seen(full)
        _done(what, "size")
        return None if data is None else len(data)

    def call(self, command: str, **parameters: Any) -> dict[str, Any]:
        if command == "operations/movefile":
            return self._move(
                _full(parameters["srcFs"], parameters["srcRemote"]),
                _full(parameters["dstFs"], parameters["dstRemote"]),
            )
        full = _full(parameters["fs"], parameters["remote"])
        if command == "operations/deletefile":
            return self._delete(full)
        if command == "operations/stat":
            return self._stat(full)
        assert command == "operations/list", command
        what = _reached("list", f"{full}/")
        sizes = sim.world().remote.listed(full)
        _done(what, "list")
        if not sizes:
            raise ObjectMissingError(f"{full}: directory not found")
        cut = len(_full(parameters["fs"], "x")) - 1
        return {"list": [{"Path": name[cut:], "Size": size} for name, size in sizes.items()]}

    def _stat(self, name: str) -> dict[str, Any]:
        what = _reached("stat", name)
        there = sim.world().remote.seen(name) is not None
        _done(what, "stat")
        now = datetime.fromtimestamp(sim.world().zfs.clock.now_ns / 1e9, UTC)
        return {"item": {"ModTime": now.isoformat()} if there else None}

    def _delete(self, name: str) -> dict[str, Any]:
        what = _reached("delete", name)
        missing = sim.world().remote.objects.pop(name, None) is None
        _done(what, "delete")
        if missing:
            raise ObjectMissingError(f"{name} is not there")
        return {}

    def _move(self, name: str, new: str) -> dict[str, Any]:
        what = _reached("move", name)
        objects = sim.world().remote.objects
        if name not in objects:
            raise ObjectMissingError(f"{name} is not there")
        objects[new] = objects.pop(name)
        _done(what, "move")
        return {}


def send(
    daemon: "SimDaemon",
    fs: str,
    stage: Path,
    sizes: Mapping[str, int],
    progress: Callable[[int], None],
    *,
    transfers: int,
) -> None:
    """Upload as rclone does: all that can be, then the error of what cannot."""
    del daemon, transfers
    failed: RemoteError | None = None
    for name in sizes:
        with sim.steps().outside():
            data = (stage / name).read_bytes()
        try:
            _upload(_full(fs, name), data)
            progress(len(data))
        except RemoteError as error:
            failed = error
    if failed is not None:
        raise failed


def _upload(name: str, data: bytes) -> None:
    objects = sim.world().remote.objects
    what = _reached("upload", name)
    if name in objects:
        if len(objects[name]) != len(data):
            raise RemoteError(f"{name}: immutable file modified")
        if objects[name] == data:
            return
    as_name, as_data = _arriving(name, data, what)
    objects[as_name] = as_data
    if what in {"late", "late-blind"}:
        sim.world().remote.late[name] = _LAG
    if what == "late-blind":
        sim.world().remote.blind.add(name)
    if what.endswith("-kill"):
        sim.steps().kill()
    if what in {"partial", "altered-error"}:
        raise RemoteError(f"{name}: upload failed: connection reset by peer, or encrypted hashes differ")
    _done(what, "upload")


def _arriving(name: str, data: bytes, what: str) -> tuple[str, bytes]:
    """Return as what an upload arrives, and under what name."""
    match what.partition("-")[0]:
        case "partial":
            return f"{name}.partial", data[: len(data) // 2]
        case "truncated":
            return name, data[: len(data) // 2]
        case "altered":
            return name, data[:-1] + bytes([data[-1] ^ 1])
    return name, data


def read_chunks(
    daemon: SimDaemon,
    fs: str,
    name: str,
    offset: int = 0,
    length: int | None = None,
    *,
    up_to_end: bool = False,
) -> Iterator[bytes]:
    """Give bytes of an object; see external.rclone_read."""
    del daemon
    full = _full(fs, name)
    what = _reached("read", full)
    data = sim.world().remote.seen(full)
    if data is None:
        raise ObjectMissingError(f"{full} is not there")
    part = data[offset:] if length is None else data[offset : offset + length]
    if what == "damaged":
        raise IntegrityError(f"{full} is damaged or was written with another password")
    if what == "altered":
        part = part[:-1] + bytes([part[-1] ^ 1]) if part else part
    if length is not None and len(part) < length and not (up_to_end and part):
        raise IntegrityError(
            f"{full} ends at byte {len(data)}, before byte {offset + length}: it is truncated"
        )
    sim.steps().done(what)
    yield part


def cat(setup: RcloneSetup, fs: str, name: str, offset: int, count: int) -> bytes:
    """Read with an rclone of its own, as opening a repository does."""
    return b"".join(read_chunks(SimDaemon(setup), fs, name, offset, None))[:count]
