"""A repository: `zdiffsync.json` at the remote's root, and a canary that proves the password.

The first thing every command opens. Rule: nothing is written to a remote that is not ours, and
nothing is read with a password that does not fit.
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated

import msgspec
from msgspec import Meta

from zdiffsync.errors import IntegrityError, ObjectMissingError, RemoteError, UsageError, WrongPasswordError
from zdiffsync.external.rclone_env import DATA_FOLDER, NO_OPTIONS, PATIENCE, PLAIN, plain_setup, shown
from zdiffsync.external.rclone_read import cat
from zdiffsync.store.recovery_files import store_recovery_files
from zdiffsync.store.secret import Secret
from zdiffsync.store.store import Store

FORMAT = 2
_MARK = "zdiffsync.json"
_MARK_LIMIT = 1 << 16
_CANARY = "canary"
_CANARY_BYTES = 32
_IDENTIFIER = re.compile(r"[0-9a-f]{32}")


class _Format(msgspec.Struct):
    format: Annotated[int, Meta(ge=1, lt=1 << 32)]


class _Mark(msgspec.Struct):
    repository: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    created: Annotated[str, Meta(max_length=64)]


@dataclass(frozen=True, slots=True)
class Repository:
    """An opened repository; `identifier` are 32 hex digits, `created` ISO 8601 in UTC."""

    identifier: str
    created: str
    store: Store


@contextmanager
def create_repository(
    remote: str,
    password: Secret,
    *,
    transfers: int = 4,
    bwlimit: str | None = None,
    options: Mapping[str, str] = NO_OPTIONS,
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
    with Store(remote, password, identifier, transfers=transfers, bwlimit=bwlimit, options=options) as store:
        for folder in (DATA_FOLDER, "restic"):
            if store.plain.sizes(folder):
                raise UsageError(
                    f"{shown(remote)} holds a folder {folder} but no {_MARK}: choose another place, "
                    f"or delete {folder} there if it is left from an init that broke off"
                )
        canary = secrets.token_bytes(_CANARY_BYTES)
        store.data.put(_CANARY, canary + hashlib.sha256(canary).digest())
        yield Repository(identifier, created, store)
        store_recovery_files(store.plain)
        content = {"format": FORMAT, "repository": identifier, "created": created}
        store.plain.put(_MARK, json.dumps(content).encode() + b"\n")


@contextmanager
def open_repository(
    remote: str,
    password: Secret,
    *,
    transfers: int = 4,
    bwlimit: str | None = None,
    patience: float = PATIENCE,
    memory: Path | None = None,
    options: Mapping[str, str] = NO_OPTIONS,
) -> Iterator[Repository]:
    """Open an existing repository, once its canary has proved the password.

    `patience`: seconds until a call that gets no answer fails. `memory`: a file that remembers the id,
    which the mark is held against: with it one rclone does both. `options`: see Store.
    Raises UsageError when there is no repository or it is of a newer format, RemoteError also when one that
    was there before is not, WrongPasswordError, IntegrityError when the canary is gone or damaged.
    """
    opened = partial(
        Store, remote, password, transfers=transfers, bwlimit=bwlimit, patience=patience, options=options
    )
    known = None if memory is None else remembered(memory)
    with ExitStack() as stack:
        if known is not None:
            store = stack.enter_context(opened(known))
            with ThreadPoolExecutor(1) as pool:
                canary = pool.submit(_read_canary, store)
                identifier, created = _identify(remote, _mark_of(store), known)
                if identifier == known:
                    _check_canary(remote, canary.result, None)
        else:
            identifier, created = _identify(remote, _read_mark(remote), None)
        if identifier != known:
            stack.close()
            store = stack.enter_context(opened(identifier))
            _check_canary(remote, partial(_read_canary, store), known)
            if memory is not None:
                _remember(memory, identifier)
        yield Repository(identifier, created, store)


def remembered(memory: Path) -> str | None:
    """Return the id that `open_repository` has noted in the file `memory`, None if it has not."""
    try:
        text = memory.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if _IDENTIFIER.fullmatch(text) else None


def _remember(memory: Path, identifier: str) -> None:
    memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with NamedTemporaryFile("w", encoding="ascii", dir=memory.parent, prefix=".", delete=False) as file:
        file.write(f"{identifier}\n")
    os.replace(file.name, memory)


def has_repository(remote: str) -> bool:
    """Tell whether a remote holds a repository, whatever its password. Raises RemoteError."""
    return _read_mark(remote) is not None


def _read_mark(remote: str) -> bytes | None:
    try:
        return cat(plain_setup(remote), PLAIN, _MARK, 0, _MARK_LIMIT)
    except ObjectMissingError:
        return None


def _mark_of(store: Store) -> bytes | None:
    try:
        return store.plain.read_up_to(_MARK, 0, _MARK_LIMIT)
    except ObjectMissingError:
        return None


def _identify(remote: str, mark: bytes | None, before: str | None) -> tuple[str, str]:
    """Return id and time of creation; `before` is the id the remote was known by, None for an unknown one."""
    if mark is None and before is not None:  # an init into the empty mount point would be the wrong advice
        raise RemoteError(
            f"the repository that was at {shown(remote)} is not there; is its disk mounted, its account the "
            f"right one? (no {_MARK})"
        )
    if mark is None:
        raise UsageError(f"there is no zdiffsync repository at {shown(remote)}; run zdiffsync init")
    try:
        number = msgspec.json.decode(mark, type=_Format).format
        if number == FORMAT:
            content = msgspec.json.decode(mark, type=_Mark)
            return content.repository, content.created
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{_MARK} at {shown(remote)} is not one of ours; choose another place") from error
    what = f"the repository at {shown(remote)} has format {number}"
    if number < FORMAT:
        raise UsageError(
            f"{what}, which only early versions of zdiffsync read; keep one of those for it, and begin anew "
            "at another place"
        )
    raise UsageError(f"{what}, this zdiffsync knows {FORMAT}; upgrade zdiffsync")


def _read_canary(store: Store) -> bytes:
    return store.data.read_up_to(_CANARY, 0, 2 * _CANARY_BYTES + 2)


def _check_canary(remote: str, read: Callable[[], bytes], before: str | None) -> None:
    """Raise WrongPasswordError or IntegrityError; `before` is another id the remote was known by."""
    try:
        data = read()
    except ObjectMissingError as error:
        raise IntegrityError(
            f"the repository at {shown(remote)} lacks its canary; its data folder is damaged"
        ) from error
    except IntegrityError as error:
        if before is not None:
            raise IntegrityError(
                f"{_MARK} at {shown(remote)} names another repository than it did when last used from here "
                f"({before}), and the password does not open it; somebody has replaced or altered it"
            ) from error
        raise WrongPasswordError(
            f"the password does not open the repository at {shown(remote)}, or its canary is damaged; check "
            "the password file"
        ) from error
    if hashlib.sha256(data[:_CANARY_BYTES]).digest() != data[_CANARY_BYTES:]:
        raise IntegrityError(
            f"the canary of the repository at {shown(remote)} is damaged; run zdiffsync check"
        )
