"""The figures of a run for Prometheus, as a file that the node exporter's textfile collector reads.

Written at the end of every run. Rule: times, never ages, since nobody writes when nothing runs; the file is
replaced whole or not at all.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from zdiffsync.maintain.run_record import Attempt
from zdiffsync.maintain.status import DatasetStatus, Status

_HOST = ("remote", "host")
_DATASET = (*_HOST, "dataset")
_READABLE = 0o644  # the node exporter is another user

_OF_DATASET = {
    "last_point_timestamp_seconds": "When the snapshot of the newest point was made, 0 for none.",
    "points": "Points that are kept.",
    "chain_depth": "Increments since the last base.",
    "packed_bytes": "Size of the packs with the increments of all points.",
    "failures": "Runs in a row that failed to make a point.",
    "tripped": "1 while unusual changes wait to be accepted.",
    "not_covered": "1 where a configured dataset cannot be backed up.",
    "skipped_files": "Files that could not be read and are not in the last point.",
    "missed_changes": "Changes that zfs diff missed in the last run and the send stream showed.",
    "uncertified": "1 when nothing vouches for what zfs diff did not see in the last run.",
    "uploaded_bytes": "Bytes the last run uploaded.",
    "changed_files": "New and changed files and directories in the last run.",
}
_OF_RUN = {
    "run_start_timestamp_seconds": "When the last run began.",
    "run_duration_seconds": "How long the last run took.",
    "run_exit_code": "Exit code of the last run: 0 done, 3 done with something left out.",
    "run_failures": "Runs in a row that ended with a code other than 0 and 3.",
    "damaged_packs": "Packs that check has found damaged.",
}


def write_metrics(path: Path, statuses: Mapping[str, Status]) -> None:
    """Write the figures of all remotes, by name ('': the only one). Raises OSError."""
    registry = CollectorRegistry()
    of_dataset = {
        key: Gauge(f"zdiffsync_{key}", text, _DATASET, registry=registry) for key, text in _OF_DATASET.items()
    }
    of_run = {key: Gauge(f"zdiffsync_{key}", text, _HOST, registry=registry) for key, text in _OF_RUN.items()}
    size = Gauge(
        "zdiffsync_remote_bytes", "All bytes on the remote, of all hosts, when they were measured.",
        (*_HOST, "part"), registry=registry,
    )  # fmt: skip
    measured = Gauge(
        "zdiffsync_remote_measured_timestamp_seconds", "When zdiffsync_remote_bytes was measured.", _HOST,
        registry=registry,
    )  # fmt: skip
    for name, status in statuses.items():
        for key, value in _run_figures(status).items():
            of_run[key].labels(name, status.host).set(value)
        for each in status.datasets:
            for key, value in _dataset_figures(each).items():
                of_dataset[key].labels(name, status.host, each.dataset).set(value)
        if (found := status.record.remote) is not None:
            size.labels(name, status.host, "bases").set(found.bases)
            size.labels(name, status.host, "other").set(found.others)
            measured.labels(name, status.host).set(found.at)
    write_to_textfile(str(path), registry)
    os.chmod(path, _READABLE)


def _run_figures(status: Status) -> dict[str, float]:
    record = status.record
    return {
        "run_start_timestamp_seconds": record.started,
        "run_duration_seconds": record.seconds,
        "run_exit_code": 1 if record.exit_code is None else record.exit_code,
        "run_failures": record.failures,
        "damaged_packs": status.checked.damaged,
    }


def _dataset_figures(each: DatasetStatus) -> dict[str, float]:
    last = each.last
    tried = each.record.last or Attempt(at=0, outcome="failed")
    return {
        "last_point_timestamp_seconds": 0 if last is None else last.created_ns / 10**9,
        "points": each.points,
        "chain_depth": 0 if last is None else last.sequence,
        "packed_bytes": each.packed,
        "failures": each.record.failures,
        "tripped": each.state == "tripped",
        "not_covered": each.state == "not covered",
        "skipped_files": len(last.stats.get("skipped") or ()) if last else 0,
        "missed_changes": tried.misses,
        "uncertified": tried.uncertified is not None,
        "uploaded_bytes": tried.uploaded,
        "changed_files": tried.changed,
    }
