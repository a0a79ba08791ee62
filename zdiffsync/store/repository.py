"""A repository: zdiffsync.json at the remote's root, and a canary that proves the password.

The first thing every command opens. Rule: nothing is written to a remote that is not ours, and
nothing is read with a password that does not fit.
"""

import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from zdiffsync.errors import IntegrityError, ObjectMissingError, UsageError, WrongPasswordError
from zdiffsync.store.secret import Secret
from zdiffsync.store.store import Store

FORMAT = 1
_MARK = "zdiffsync.json"
_CANARY = "canary"
_CANARY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Repository:
    """An opened repository and its id of 32 hex digits."""

    identifier: str
    store: Store


@contextmanager
def create_repository(remote: str, password: Secret) -> Iterator[Repository]:
    """Make an empty repository and open it.

    Raises UsageError when the remote already holds one, RemoteError when it cannot be written.
    """
    with Store(remote, None, "") as store:
        if (size := store.plain.size(_MARK)) is not None:
            raise UsageError(f"{remote} already holds a repository ({_MARK}, {size} bytes); choose another place")
    identifier = secrets.token_hex(16)
    mark = {"format": FORMAT, "repository": identifier, "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    with Store(remote, password, identifier) as store:
        canary = secrets.token_bytes(_CANARY_BYTES)
        store.data.put(_CANARY, canary + hashlib.sha256(canary).digest())
        yield Repository(identifier, store)
        store.plain.put(_MARK, json.dumps(mark).encode() + b"\n")


@contextmanager
def open_repository(
    remote: str, password: Secret, *, transfers: int = 4, bwlimit: str | None = None
) -> Iterator[Repository]:
    """Open an existing repository.

    Raises UsageError when there is none or it is of a newer format, WrongPasswordError, RemoteError.
    """
    with Store(remote, None, "") as store:
        identifier = _identifier(remote, store)
    with Store(remote, password, identifier, transfers=transfers, bwlimit=bwlimit) as store:
        _check_canary(remote, store)
        yield Repository(identifier, store)


def _identifier(remote: str, store: Store) -> str:
    try:
        mark = json.loads(store.plain.read_all(_MARK))
        number, identifier = mark["format"], str(mark["repository"])
    except ObjectMissingError as error:
        raise UsageError(f"there is no zdiffsync repository at {remote}; run zdiffsync init") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{_MARK} at {remote} is not one of ours; choose another place") from error
    if number != FORMAT:
        raise UsageError(f"the repository at {remote} has format {number}, this zdiffsync knows {FORMAT}; upgrade it")
    return identifier


def _check_canary(remote: str, store: Store) -> None:
    try:
        data = store.data.read_all(_CANARY)
    except ObjectMissingError as error:
        raise IntegrityError(f"the repository at {remote} lacks its canary; its data folder is damaged") from error
    except IntegrityError as error:
        raise WrongPasswordError(f"the password does not open the repository at {remote}") from error
    if hashlib.sha256(data[:_CANARY_BYTES]).digest() != data[_CANARY_BYTES:]:
        raise IntegrityError(f"the canary of the repository at {remote} is damaged")
