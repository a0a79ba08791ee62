"""The run record: what the last runs did to each dataset, as a file in the state directory.

Written by the recorder around every run (maintain.run_recorder), read by `status` and for the metrics.
Rule: holds only what cannot be learned from the manifests: attempts, and how they ended.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from zdiffsync.errors import CatalogError, ExitCode
from zdiffsync.external.files import replace_private

_FILE = "runs.json"
REMEMBERED = 14  # attempts a dataset
FINE = (ExitCode.DONE, ExitCode.INCOMPLETE)  # what a run ends with that has done all it could
_KILLED = "the run was killed, or the machine went down"

Outcome = Literal["point", "failed", "tripped", "not_covered", "nothing_new"]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What one run did to one dataset; `at` is when the run began (seconds since 1970).

    `nothing_new`: another tool took no snapshot since the last point. `message` says why there is no point.
    The rest is about the point: its id, files that are not in it, changes `zfs diff` missed, why whole trees
    were compared, why nothing vouches for it, bytes uploaded, and files and directories that were new or
    changed.
    """

    at: int
    outcome: Outcome
    message: str | None = None
    point: str | None = None
    skipped: int = 0
    misses: int = 0
    fallback: str | None = None
    uncertified: str | None = None
    uploaded: int = 0
    changed: int = 0


class DatasetRecord(msgspec.Struct, frozen=True):
    """The last attempts, oldest first, and how many failed since one that did not, the first of them when."""

    attempts: tuple[Attempt, ...] = ()
    failures: int = 0
    failing_since: int | None = None

    @property
    def last(self) -> Attempt | None:
        """The last attempt."""
        return self.attempts[-1] if self.attempts else None

    def with_attempt(self, attempt: Attempt) -> "DatasetRecord":
        """Return it with one attempt more; it takes the place of one of the same run."""
        before, failures, since = self.attempts, self.failures, self.failing_since
        if before and before[-1].at == attempt.at:
            failures -= before[-1].outcome == "failed"
            before = before[:-1]
        attempts = (*before, attempt)[-REMEMBERED:]
        if attempt.outcome in {"point", "nothing_new", "not_covered"}:
            return DatasetRecord(attempts)
        failures += attempt.outcome == "failed"
        return DatasetRecord(attempts, failures, (since or attempt.at) if failures else None)


class RemoteSize(msgspec.Struct, frozen=True):
    """What lay on the remote at a time (seconds since 1970): bytes of bases (restic's) and of all else.

    `packed` are the bytes of packs that points named then.
    """

    at: int
    bases: int
    others: int
    packed: int

    @property
    def total(self) -> int:
        """All bytes."""
        return self.bases + self.others


class Planned(msgspec.Struct, frozen=True):
    """A dataset a run was to back up, with its children when `recursive`."""

    name: str
    recursive: bool = False

    def includes(self, dataset: str) -> bool:
        """Whether the run was to back up this one."""
        return dataset == self.name or (self.recursive and dataset.startswith(f"{self.name}/"))


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The last run, and the datasets of all runs. Times in seconds since 1970.

    `started` 0: there was none. `finished` None: it goes on, or was killed; only the lock can tell. `error`
    is what ended it as a whole. `failures`: how many runs in a row ended with a code other than 0 and 3.
    """

    version: str = ""
    pid: int = 0
    started: int = 0
    finished: int | None = None
    seconds: float = 0.0
    exit_code: int | None = None
    error: str | None = None
    failures: int = 0
    planned: tuple[Planned, ...] = ()
    left_over: tuple[str, ...] = ()
    datasets: dict[str, DatasetRecord] = {}
    remote: RemoteSize | None = None

    @property
    def is_open(self) -> bool:
        """Whether its end is not on record."""
        return bool(self.started) and self.finished is None


def added(datasets: Mapping[str, DatasetRecord], attempts: Mapping[str, Attempt]) -> dict[str, DatasetRecord]:
    """Return what is known of datasets, with what a run has done to some of them."""
    new = {name: datasets.get(name, DatasetRecord()).with_attempt(each) for name, each in attempts.items()}
    return {**datasets, **new}


def closed(
    record: RunRecord, attempts: Mapping[str, Attempt], code: int | None, error: str | None
) -> RunRecord:
    """Return the record of a run that has ended, by itself or by `error`.

    A planned dataset that has come to nothing has failed, by what ended the run or failed the dataset it is
    below; else it is no longer there.
    """
    datasets = added(record.datasets, attempts)
    for plan in record.planned:
        own = attempts.get(plan.name)
        why = own.message if own is not None and own.outcome == "failed" and error is None else error
        for name in [name for name in {*datasets, plan.name} if plan.includes(name)]:
            known = datasets.get(name, DatasetRecord())
            if known.last is not None and known.last.at == record.started:
                continue
            if why is None:
                datasets.pop(name, None)
            else:
                failed = Attempt(at=record.started, outcome="failed", message=why)
                datasets[name] = known.with_attempt(failed)
    failures = 0 if code in FINE else record.failures + 1
    return replace(record, datasets=datasets, failures=failures, exit_code=code, error=error)


def killed(record: RunRecord) -> RunRecord:
    """Return the record of a run that does not go on any more and never came to its end."""
    return closed(record, {}, None, _KILLED)


def load_record(state: Path) -> RunRecord:
    """Return the record of the state directory, an empty one when there is none. Raises CatalogError."""
    path = state / _FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunRecord)
    except FileNotFoundError:
        return RunRecord()
    except (OSError, msgspec.DecodeError) as error:
        raise CatalogError(f"cannot read {path}: {error}; the next run writes it anew") from error


def save_record(state: Path, record: RunRecord) -> None:
    """Put `record` in the place of the one before. Raises OSError."""
    replace_private(state / _FILE, msgspec.json.encode(record))
