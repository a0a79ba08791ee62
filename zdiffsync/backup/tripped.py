"""Which datasets the tripwire has stopped: a small file in the state directory.

Written by the run, read by forget and prune. Rule: an entry goes only with a new point of its dataset, or
when a person accepts it.
"""

import shlex
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from zdiffsync.errors import CatalogError, UsageError
from zdiffsync.external.files import replace_private


class Trip(msgspec.Struct, frozen=True):
    """`since` is when it was first found (UTC, ISO 8601), `found` what, `accept` the name to accept it by."""

    since: str
    found: str
    accept: str


class Tripped:
    """The stopped datasets, by name. Every method raises CatalogError for a file that cannot be read."""

    def __init__(self, state: Path) -> None:
        self._path = state / "tripped.json"

    def all(self) -> dict[str, Trip]:
        """Return every entry."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, Trip])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            raise CatalogError(
                f"cannot read {self._path}: {error}; delete it, the next run finds out again what is unusual"
            ) from error

    def add(self, dataset: str, found: str, accept: str) -> None:
        """Note that a run stopped at `dataset`."""
        trips = self.all()
        since = trips[dataset].since if dataset in trips else f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        self._write({**trips, dataset: Trip(since, found, accept)})

    def clear(self, dataset: str) -> None:
        """Forget the entry of `dataset`, if there is one."""
        self.keep(self.all().keys() - {dataset})

    def keep(self, datasets: Iterable[str]) -> None:
        """Forget all other entries, also those of datasets that are gone."""
        trips = self.all()
        kept = {name: trips[name] for name in trips.keys() & set(datasets)}
        if not kept:
            self._path.unlink(missing_ok=True)
        elif kept != trips:
            self._write(kept)

    def _write(self, trips: dict[str, Trip]) -> None:
        replace_private(self._path, msgspec.json.encode(trips))


def frozen(state: Path) -> str | None:
    """Return in one sentence why forget and prune must not do anything now, None when they may.

    `state` is the state directory. Raises CatalogError when it cannot be told.
    """
    trips = Tripped(state).all()
    if not trips:
        return None
    found = "; ".join(
        f"{dataset}, since {trip.since}: {trip.found}" for dataset, trip in sorted(trips.items())
    )
    names = shlex.join(sorted({trip.accept for trip in trips.values()}))
    return (
        f"nothing is removed while unusual changes wait for a look ({found}); "
        f"if they are right, confirm them with zdiffsync run --accept-changes {names}"
    )


def ensure_not_frozen(state: Path) -> None:
    """Raise UsageError, with the reason, when forget and prune must not do anything now."""
    if (reason := frozen(state)) is not None:
        raise UsageError(reason)
