"""What prune is going to delete: lists of objects that nothing refers to, each with its time.

Written by prune, which deletes only what has been on a list for a while; read by every run before it
commits. So a run on another host that uploaded packs not yet in any manifest either commits before they
are deleted or notices. Rule: whoever finds an object on a list does not begin to refer to it.
"""

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from zdiffsync.errors import IntegrityError, ObjectMissingError
from zdiffsync.format.manifest_values import Digest, LongId
from zdiffsync.store.area import Area

_FOLDER = "condemned"
_NAME = re.compile(rf"{_FOLDER}/([0-9]{{8}}T[0-9]{{6}}Z)-[0-9a-f]{{8}}")
_LARGEST = 64 << 20  # bytes; a million packs take 36 MB
_TIME = "%Y%m%dT%H%M%SZ"


class _Content(msgspec.Struct):
    packs: list[LongId]
    bases: list[Digest]


@dataclass(frozen=True, slots=True)
class Condemned:
    """One list: ids of packs and of restic snapshots, condemned at `time`; `name` is its object."""

    name: str
    time: datetime
    packs: frozenset[str]
    bases: frozenset[str]


def read_condemned(area: Area) -> list[Condemned]:
    """Return all lists, oldest first. Raises RemoteError, IntegrityError for a name that is no list's.

    One that cannot be read is as good as empty: nobody deletes by it.
    """
    return sorted(_lists(area), key=lambda each: each.time)


def _lists(area: Area) -> Iterator[Condemned]:
    for name in area.sizes(_FOLDER):
        time = _time(name)
        try:
            content = msgspec.json.decode(area.read_all(name, _LARGEST), type=_Content)
        except ObjectMissingError:
            continue  # another prune is done with it
        except (IntegrityError, ValueError, RecursionError):
            content = _Content([], [])  # its upload broke off
        yield Condemned(name, time, frozenset(content.packs), frozenset(content.bases))


def _time(name: str) -> datetime:
    if match := _NAME.fullmatch(name):
        with suppress(ValueError):  # there is no such day or hour
            return datetime.strptime(match[1], _TIME).replace(tzinfo=UTC)
    raise IntegrityError(f"{name} on the remote is no list of prune's; move it away")


def condemn(area: Area, packs: frozenset[str], bases: frozenset[str]) -> None:
    """Write a list. Raises RemoteError."""
    name = f"{_FOLDER}/{datetime.now(UTC).strftime(_TIME)}-{secrets.token_hex(4)}"
    area.put(name, json.dumps({"packs": sorted(packs), "bases": sorted(bases)}).encode())
