"""Opens every door of zdiffsync to the simulated world: the one place that knows where they are.

Rule: replaces what starts processes or derives keys, and nothing behind that.
"""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Self

import pytest
import sim
import sim_remote
import sim_restic
import sim_zfs
from sqlalchemy import create_engine
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from zdiffsync.backup import commit, run, snapshots, stopwatch, sync, tripped
from zdiffsync.backup.uploader import Uploader
from zdiffsync.bases import bases
from zdiffsync.catalog import sqlite
from zdiffsync.cli import forget
from zdiffsync.external import rclone_env, restic, tree, zfs, zfs_diff, zfs_send
from zdiffsync.maintain import prune
from zdiffsync.restore import bulk as restore_bulk
from zdiffsync.store import area, condemned, repository, secret, store, working


def open_doors(patch: pytest.MonkeyPatch) -> None:
    """From here on zdiffsync lives in the world that `sim` knows."""
    patch.setattr(zfs, "run_tool", lambda argv, **_: sim.world().zfs.run(argv[1:]))
    patch.setattr(zfs, "mountpoint", sim_zfs.mountpoint)
    for door in zfs_diff, zfs_send:
        patch.setattr(door, "stream_tool", lambda argv, **_: sim.world().zfs.stream(argv[1:]))
    for cls in tree.SnapshotTree, restic.Restic:
        _give_new(cls)
    patch.setattr(tree.SnapshotTree, "__new__", _tree)
    patch.setattr(
        restic.Restic, "__new__", lambda _cls, *_args, **_keys: object.__new__(sim_restic.SimRestic)
    )
    patch.setattr(bases, "Objects", sim_restic.SimObjects)
    patch.setattr(store, "RcloneDaemon", sim_remote.SimDaemon)
    patch.setattr(area, "send", sim_remote.send)
    patch.setattr(area, "read_chunks", sim_remote.read_chunks)
    patch.setattr(repository, "cat", sim_remote.cat)
    patch.setattr(rclone_env, "find_rclone", lambda: "rclone")
    patch.setattr(rclone_env, "obscure", lambda text: text)
    patch.setattr(secret.Secret, "derive", _derive)
    patch.setattr(sync, "sleep", lambda _seconds: None)
    for module in run, commit, stopwatch:
        patch.setattr(module, "monotonic", lambda: 0.0)
    for module in snapshots, condemned, prune, forget, repository, tripped, working:
        patch.setattr(module, "datetime", _Now)
    patch.setattr(secrets, "token_bytes", lambda count=32: sim.world().draw(count))
    patch.setattr(secrets, "token_hex", lambda count=32: sim.world().draw(count).hex())
    _share_statements(patch)


class _Now(datetime):
    """The world's time, so that what a run writes does not depend on ours."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime.fromtimestamp(sim.world().zfs.clock.now_ns / 1e9, UTC).astimezone(tz)


@contextmanager
def tuned(*, late_uploads: bool, bulk: bool) -> Iterator[None]:
    """Have packs uploaded all at once at the end, or each before the next is begun; `bulk`: restic restores.

    The one by a thread that starts late, the other by a configuration without room for two packs: in both the
    order of steps does not depend on which thread is faster.
    """
    with pytest.MonkeyPatch.context() as patch:
        if late_uploads:
            patch.setattr(commit, "Uploader", _LateUploader)
        if bulk:
            patch.setattr(restore_bulk, "_FILES", 1)
        yield


class _LateUploader(Uploader):
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.start()
        super().__exit__(*error)


def _share_statements(patch: pytest.MonkeyPatch) -> None:
    """Let all engines know the statements that one has built: half of a tiny run is building them."""
    shared: dict[Any, Any] = {}
    patch.setattr(
        sqlite, "create_engine",
        lambda *args, **keys: create_engine(*args, **keys, execution_options={"compiled_cache": shared}),
    )  # fmt: skip
    patch.setattr(SQLiteDialect_pysqlite, "__eq__", lambda self, other: type(self) is type(other))
    patch.setattr(SQLiteDialect_pysqlite, "__hash__", lambda self: hash(type(self)))


def _give_new(cls: type) -> None:
    """Give a class a `__new__` of its own, for good.

    From one whose `__new__` was set and then taken away again Python makes no more instances with arguments.
    """
    if "__new__" not in cls.__dict__:
        cls.__new__ = lambda cls, *_args, **_keys: object.__new__(cls)  # type: ignore[method-assign]


def _tree(cls: Any, root: bytes) -> Any:
    return object.__new__(sim_zfs.SimTree if root.startswith(sim_zfs.MOUNTED) else cls)


def _derive(_self: Self, salt: bytes, *, length: int, **_cost: int) -> bytes:
    return hashlib.shake_256(salt).digest(length)
