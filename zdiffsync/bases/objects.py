"""The objects of a restic repository: keys, index, snapshots, and blobs out of its packs.

Between the remote and trees and files. Opened by the first call that needs the remote; of the keys the one
that fitted is kept, sealed as restic has it. Rule: a blob leaves only when its SHA-256 is its id.
"""

import hashlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from zdiffsync.bases.index import Index, Place
from zdiffsync.bases.keys import LARGEST, OVERHEAD, Key, unlock
from zdiffsync.errors import (
    IntegrityError,
    ObjectMissingError,
    ResticError,
    WrongPasswordError,
    ZdiffsyncError,
)
from zdiffsync.external.files import replace_private
from zdiffsync.format.zstd import decompress
from zdiffsync.store.object_cache import CachedArea, ObjectCache
from zdiffsync.store.remote import ReadableArea
from zdiffsync.store.secret import Secret

_FOLDER = "restic"
_COMPRESSED = 2  # the first byte of an unpacked object that is a zstd frame
_SMALL = 1 << 20  # bytes of a key file or the config; a few hundred in fact
_VERSIONS = (1, 2)
_AT_ONCE = 8  # index files under way


class _Config(msgspec.Struct):
    version: int


class _Snapshot(msgspec.Struct):
    tree: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Objects:
    """Reads objects of the restic repository in `area`; thread-safe. Index tables are kept in `folder`."""

    def __init__(
        self, area: ReadableArea, password: Secret, folder: Path, cache: ObjectCache, *, sparing: bool
    ) -> None:
        self._area, self._password = area, password
        self._packs: CachedArea = cache.over(area, _FOLDER, sparing=sparing)
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()
        self._refreshes = 0
        self._folder = folder
        self._opened_index: Index | None = None
        self._opened_key: Key | None = None
        self._kept_key = folder / "key"
        self._unlocking: Future[Key | None] | None = None
        self._unsure = False  # whether the key is the kept one and has opened nothing yet

    def snapshot_tree(self, snapshot: str) -> str:
        """Return the id of a snapshot's tree. Raises ObjectMissingError, IntegrityError, RemoteError."""
        data = self._unpacked(f"{_FOLDER}/snapshots/{snapshot}")
        try:
            return msgspec.json.decode(data, type=_Snapshot).tree
        except ValueError as error:  # msgspec's own, and of bytes that are no UTF-8
            raise IntegrityError(f"the restic snapshot {snapshot[:8]} does not parse ({error})") from error

    def place(self, blob: bytes) -> Place:
        """Return where a blob lies. Raises IntegrityError when no index has it, RemoteError."""
        index = self._index
        place = index.find(blob)
        if place is None:
            self.refresh()
            place = index.find(blob)
        if place is None:
            raise IntegrityError(f"the restic repository lacks blob {blob.hex()}; run zdiffsync check")
        return place

    def plain_size(self, place: Place) -> int:
        """Return the size of a blob's content in bytes."""
        return place.plain or place.length - OVERHEAD

    def blob(self, blob: bytes) -> bytes:
        """Return the content of a blob by its id.

        Tried once more from the remote when what the caches gave does not check out.
        Raises IntegrityError naming the pack, ObjectMissingError, RemoteError.
        """
        place = self.place(blob)
        try:
            return self._checked(blob, place)
        except ObjectMissingError:
            self.refresh()  # restic prune has moved it
        except IntegrityError:
            self._packs.drop(_pack_name(place), place.offset, place.length)
        return self._checked(blob, self.place(blob))

    def refresh(self) -> None:
        """Bring the index up to what the remote has. Raises RemoteError, IntegrityError."""
        begun = self._refreshes
        with self._refreshing:
            if self._refreshes > begun:
                return  # somebody else has looked since this was asked for
            self._refreshes += 1
            self._begin()
            prefix = f"{_FOLDER}/index"
            there = {name.rpartition("/")[2] for name in self._area.sizes(prefix)}
            index = self._index

            def take(identifier: str) -> None:
                index.add(identifier, self._unpacked(f"{prefix}/{identifier}"))

            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(take, (identifier for identifier in there if identifier not in index)))
            index.keep(there)

    @property
    def _index(self) -> Index:
        with self._lock:
            if self._opened_index is None:
                self._opened_index = Index(self._folder)
            return self._opened_index

    @property
    def _key(self) -> Key:
        with self._lock:
            if self._opened_key is None:
                self._opened_key = self._unlock()
            return self._opened_key

    def _begin(self) -> None:
        """Derive the key, which takes as long on purpose, while the remote is being opened."""
        with self._lock:
            if self._unlocking is None and self._opened_key is None:
                self._unlocking = Future()
                threading.Thread(target=self._unlock_kept, args=(self._unlocking,), daemon=True).start()

    def _unlock_kept(self, unlocking: "Future[Key | None]") -> None:
        """Try the key file that worked the last time."""
        try:
            unlocking.set_result(unlock(self._kept_key.read_bytes(), self._password))
        except (OSError, ZdiffsyncError):
            unlocking.set_result(None)
        except BaseException as error:  # noqa: BLE001 - for who waits for the key
            unlocking.set_exception(error)

    def _keep(self, file: bytes) -> None:
        with suppress(OSError):  # then it is read from the remote the next time, too
            replace_private(self._kept_key, file)

    def _unlock(self) -> Key:
        kept = None if self._unlocking is None else self._unlocking.result()
        if kept is not None:
            self._unsure = True
            return kept
        return self._unlock_remote()

    def _open(self, frame: bytes) -> bytes:
        """Decrypt. Raises IntegrityError."""
        try:
            content = self._key.open(frame)
        except IntegrityError:
            if not self._unsure:
                raise
        else:
            self._unsure = False
            return content
        with self._lock:  # kept from another repository that was at this place, perhaps
            if self._unsure:
                self._opened_key, self._unsure = self._unlock_remote(), False
        return self._key.open(frame)

    def _unlock_remote(self) -> Key:
        names = sorted(self._area.sizes(f"{_FOLDER}/keys"))
        if not names:
            raise ResticError("there is no restic repository beside the points; run zdiffsync init")
        for name in names:
            file = self._area.read_all(name, _SMALL)
            key = unlock(file, self._password)
            if key is not None:
                break
        else:
            raise WrongPasswordError("the password does not open the restic repository of the bases")
        try:
            config = msgspec.json.decode(
                _inflated(key.open(self._area.read_all(f"{_FOLDER}/config", _SMALL))), type=_Config
            )
        except ValueError as error:  # msgspec's own, and of bytes that are no UTF-8
            raise IntegrityError(f"the config of the restic repository does not parse ({error})") from error
        if config.version not in _VERSIONS:
            raise ResticError(
                f"the restic repository has version {config.version}, this zdiffsync knows 1 and 2; "
                "upgrade zdiffsync"
            )
        self._keep(file)
        return key

    def _unpacked(self, name: str) -> bytes:
        self._begin()
        frame = self._area.read_all(name, LARGEST)
        digest = hashlib.sha256(frame).hexdigest()
        if digest != name.rpartition("/")[2]:
            raise IntegrityError(f"{name} is damaged: its digest is not its name; run zdiffsync check")
        return _inflated(self._open(frame))

    def _checked(self, blob: bytes, place: Place) -> bytes:
        self._begin()
        frame = self._packs.read(_pack_name(place), place.offset, place.length)
        try:
            data = self._open(frame)
            if place.plain:
                data = decompress(data, place.plain)
        except IntegrityError as error:
            raise IntegrityError(
                f"blob {blob.hex()[:16]} in pack {place.pack} of the base is damaged: {error}"
            ) from error
        if len(data) != self.plain_size(place) or hashlib.sha256(data).digest() != blob:
            raise IntegrityError(
                f"blob {blob.hex()[:16]} in pack {place.pack} of the base does not match its digest"
            )
        return data


def _pack_name(place: Place) -> str:
    return f"{_FOLDER}/data/{place.pack[:2]}/{place.pack}"


def _inflated(data: bytes) -> bytes:
    if data[:1] == bytes([_COMPRESSED]):
        return decompress(data[1:], LARGEST)
    return data
