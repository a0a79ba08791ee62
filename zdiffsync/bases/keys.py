"""Opening what restic has encrypted: its key files, and the frame every stored thing is sealed in.

First step of reading a base. A frame is 16 bytes of IV, AES-256-CTR of the content, and 16 bytes of
Poly1305-AES over that (restic's design document, "Keys, Encryption and MAC").
Rule: nothing is decrypted before its MAC has been checked.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.poly1305 import Poly1305

from zdiffsync.errors import IntegrityError
from zdiffsync.store.secret import Secret

OVERHEAD = 32  # bytes a frame adds to its content
LARGEST = 1 << 30  # bytes of anything restic stores in one piece
_BLOCK = 16
_MOST_MEMORY = 1 << 30  # bytes scrypt may take; restic calibrates it to tens of MiB
_MOST_WORK = 1 << 26  # blocks it may mix: some ten seconds, where restic calibrates to half of one


@dataclass(frozen=True, slots=True)
class Key:
    """A master key, or the one a password gives."""

    _encryption: bytes = field(repr=False)
    _mac_k: bytes = field(repr=False)
    _mac_r: bytes = field(repr=False)

    def open(self, frame: bytes) -> bytes:
        """Return the content of a frame. Raises IntegrityError when damaged or sealed with another key."""
        if len(frame) < OVERHEAD:
            raise IntegrityError(f"a sealed frame of {len(frame)} bytes is cut short")
        view = memoryview(frame)
        nonce, sealed, mac = view[:_BLOCK], view[_BLOCK:-_BLOCK], view[-_BLOCK:]
        pad = Cipher(AES(self._mac_k), ECB()).encryptor().update(nonce)  # noqa: S305 - one block, as Poly1305-AES has it
        try:
            Poly1305.verify_tag(self._mac_r + pad, sealed, bytes(mac))
        except InvalidSignature as error:
            raise IntegrityError("a sealed frame does not match its MAC") from error
        return Cipher(AES(self._encryption), CTR(bytes(nonce))).decryptor().update(sealed)


_Positive = Annotated[int, msgspec.Meta(gt=0)]


class _KeyFile(msgspec.Struct):
    kdf: Literal["scrypt"]
    N: _Positive
    r: _Positive
    p: _Positive
    salt: bytes
    data: bytes

    def __post_init__(self) -> None:
        """Refuse what anybody could write into a key file to keep us busy. Raises ValueError."""
        if self.N * self.r * self.p > _MOST_WORK:
            raise ValueError("its key would take too long to derive")


class _Mac(msgspec.Struct):
    k: bytes
    r: bytes


class _Master(msgspec.Struct):
    mac: _Mac
    encrypt: bytes


def unlock(file: bytes, password: Secret) -> Key | None:
    """Return the master key in a key file, None when this password does not open it.

    Raises IntegrityError when it is no key file of restic's that this code knows.
    """
    try:
        found = msgspec.json.decode(file, type=_KeyFile)
        derived = password.derive(found.salt, n=found.N, r=found.r, p=found.p, length=64, memory=_MOST_MEMORY)
    except (ValueError, OverflowError) as error:  # msgspec's errors and hashlib's about the numbers
        raise IntegrityError(f"a key file of the restic repository does not parse ({error})") from error
    try:
        opened = Key(derived[:32], derived[32:48], derived[48:]).open(found.data)
    except IntegrityError:
        return None
    try:
        master = msgspec.json.decode(opened, type=_Master)
    except ValueError as error:
        raise IntegrityError(f"a key of the restic repository does not parse ({error})") from error
    if (len(master.encrypt), len(master.mac.k), len(master.mac.r)) != (2 * _BLOCK, _BLOCK, _BLOCK):
        raise IntegrityError("a key of the restic repository has not the length of one")
    return Key(master.encrypt, master.mac.k, master.mac.r)
