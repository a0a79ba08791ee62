"""`status` as JSON values. Rule: all times in ns since 1970, with `_ns` in their names."""

from dataclasses import asdict
from typing import Any

import msgspec

from zdiffsync.maintain.fleet import HostDataset
from zdiffsync.maintain.status import DatasetStatus, Status, age


def status_values(status: Status, now_ns: int) -> dict[str, Any]:
    """Return all there is."""
    record = status.record
    return {
        "host": status.host,
        "well": status.is_well,
        "problems": list(status.problems),
        "notes": list(status.notes),
        "datasets": [_dataset(each, now_ns) for each in status.datasets],
        "former": [asdict(each) for each in status.former],
        "working": None if status.holder is None else asdict(status.holder),
        "stages": [msgspec.to_builtins(bar) for bar in status.bars],
        "last_run": {
            "started_ns": _ns(record.started or None), "finished_ns": _ns(record.finished),
            "seconds": record.seconds,
            "exit_code": record.exit_code, "error": record.error, "failures": record.failures,
            "version": record.version,
        },
        "remote_bytes": None if record.remote is None else _timed(msgspec.to_builtins(record.remote), "at"),
        "packed": status.packed,
        "checked": _timed(asdict(status.checked), "oldest"),
    }  # fmt: skip


def _ns(seconds: int | None) -> int | None:
    return None if seconds is None else seconds * 10**9


def _timed(values: dict[str, Any], key: str) -> dict[str, Any]:
    """Return values whose time `key`, in seconds, is in ns and says so."""
    return {f"{key}_ns": _ns(values.pop(key)), **values}


def host_values(each: HostDataset, now_ns: int) -> dict[str, Any]:
    """Return a dataset of some host."""
    return {
        "host": each.host, "dataset": each.dataset, "state": each.state, "why": each.why,
        "point": each.last.key, "created_ns": each.last.created_ns,
        "age_seconds": age(each.last, now_ns).total_seconds(), "points": each.points, "packed": each.packed,
    }  # fmt: skip


def _dataset(each: DatasetStatus, now_ns: int) -> dict[str, Any]:
    last, base, record = each.last, each.next_base, each.record
    return {
        "dataset": each.dataset, "state": each.state, "why": each.why, "well": each.is_well,
        "running": each.running,
        "point": None if last is None else last.key,
        "created_ns": None if last is None else last.created_ns,
        "age_seconds": None if last is None else age(last, now_ns).total_seconds(),
        "points": each.points, "oldest_ns": each.oldest_ns, "packed": each.packed,
        "chain_depth": None if last is None else last.sequence,
        "base_ns": None if last is None else last.base_ns,
        "next_base": None if base is None else asdict(base),
        "snapshot_there": each.snapshot_there, "interrupted": each.interrupted,
        "failures": record.failures, "failing_since_ns": _ns(record.failing_since),
        "attempts": [_timed(msgspec.to_builtins(attempt), "at") for attempt in record.attempts],
    }  # fmt: skip
