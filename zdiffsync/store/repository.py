"""A repository: `zdiffsync.json` at the remote's root, and a canary that proves the password.

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
from zdiffsync.external.rclone_env import DATA_FOLDER, PLAIN, plain_setup, shown
from zdiffsync.external.rclone_read import cat
from zdiffsync.store.secret import Secret
from zdiffsync.store.store import Store

FORMAT = 1
_MARK = "zdiffsync.json"
_MARK_LIMIT = 1 << 16
_CANARY = "canary"
_CANARY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Repository:
    """An opened repository; `identifier` are 32 hex digits, `created` ISO 8601 in UTC."""

    identifier: str
    created: str
    store: Store


@contextmanager
def create_repository(
    remote: str, password: Secret, *, transfers: int = 4, bwlimit: str | None = None
) -> Iterator[Repository]:
    """Make a repository in an empty place and open it; leaving the body without an error completes it.

    Raises UsageError when the remote already holds one or what could be mistaken for one, RemoteError
    when it cannot be written.
    """
    if (mark := _read_mark(remote)) is not None:
        raise UsageError(
            f"{shown(remote)} already holds a repository ({len(mark)} bytes of {_MARK}); choose another place"
        )
    identifier = secrets.token_hex(16)
    created = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    with Store(remote, password, identifier, transfers=transfers, bwlimit=bwlimit) as store:
        for folder in (DATA_FOLDER, "restic"):
            if store.plain.sizes(folder):
                raise UsageError(
                    f"{shown(remote)} holds a folder {folder} but no {_MARK}: choose another place, "
                    f"or delete {folder} there if it is left from an init that broke off"
                )
        canary = secrets.token_bytes(_CANARY_BYTES)
        store.data.put(_CANARY, canary + hashlib.sha256(canary).digest())
        yield Repository(identifier, created, store)
        content = {"format": FORMAT, "repository": identifier, "created": created}
        store.plain.put(_MARK, json.dumps(content).encode() + b"\n")


@contextmanager
def open_repository(
    remote: str, password: Secret, *, transfers: int = 4, bwlimit: str | None = None
) -> Iterator[Repository]:
    """Open an existing repository, once its canary has proved the password.

    Raises UsageError when there is none or it is of a newer format, WrongPasswordError, IntegrityError
    when the canary is gone or damaged, RemoteError.
    """
    identifier, created = _identify(remote)
    with Store(remote, password, identifier, transfers=transfers, bwlimit=bwlimit) as store:
        _check_canary(remote, store)
        yield Repository(identifier, created, store)


def _read_mark(remote: str) -> bytes | None:
    try:
        return cat(plain_setup(remote), PLAIN, _MARK, 0, _MARK_LIMIT)
    except ObjectMissingError:
        return None


def _identify(remote: str) -> tuple[str, str]:
    mark = _read_mark(remote)
    if mark is None:
        raise UsageError(f"there is no zdiffsync repository at {shown(remote)}; run zdiffsync init")
    try:
        content = json.loads(mark)
        number = int(content["format"])
        if number == FORMAT:
            return str(content["repository"]), str(content["created"])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{_MARK} at {shown(remote)} is not one of ours; choose another place") from error
    what = f"the repository at {shown(remote)} has format {number}"
    raise UsageError(f"{what}, this zdiffsync knows {FORMAT}; upgrade zdiffsync")


def _check_canary(remote: str, store: Store) -> None:
    try:
        data = store.data.read_all(_CANARY)
    except ObjectMissingError as error:
        raise IntegrityError(
            f"the repository at {shown(remote)} lacks its canary; its data folder is damaged"
        ) from error
    except IntegrityError as error:
        raise WrongPasswordError(
            f"the password does not open the repository at {shown(remote)}; check the password file"
        ) from error
    if hashlib.sha256(data[:_CANARY_BYTES]).digest() != data[_CANARY_BYTES:]:
        raise IntegrityError(
            f"the canary of the repository at {shown(remote)} is damaged; run zdiffsync check"
        )
