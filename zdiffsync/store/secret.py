"""The repository password. Rule: never printed, never in an argument, read from a private file."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from zdiffsync.errors import ConfigError

_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class Secret:
    """A password that does not show itself."""

    _value: bytes = field(repr=False)

    @classmethod
    def from_file(cls, path: Path) -> "Secret":
        """Read it, without one trailing newline. Raises ConfigError naming what to do."""
        try:
            with path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                value = file.read().removesuffix(b"\n")
        except OSError as error:
            what = f"cannot read the password file {path}: {error.strerror}"
            raise ConfigError(f"{what}; see password_file in the configuration") from error
        if mode & _OTHERS:
            raise ConfigError(f"the password file {path} is open to other users; run chmod 600 {path}")
        if not value:
            raise ConfigError(f"the password file {path} is empty; put the repository's password into it")
        return cls(value)

    def crypt_passwords(self, repository: str) -> tuple[str, str]:
        """Derive rclone crypt's `password` and `password2` for one repository id (32 hex digits).

        Both are 64 hex digits: hashlib.scrypt(password, salt=<the id in ASCII>, n=2**15, r=8, p=1,
        dklen=64).hex(), cut in half. The id makes two repositories of one password unrelated.
        """
        key = self.derive(repository.encode("ascii"), n=1 << 15, r=8, p=1, length=64, memory=1 << 26)
        return key[:32].hex(), key[32:].hex()

    def derive(self, salt: bytes, *, n: int, r: int, p: int, length: int, memory: int) -> bytes:
        """Return `length` bytes that scrypt makes of it; `memory` in bytes bounds what that may take.

        Raises ValueError for parameters scrypt does not take.
        """
        return hashlib.scrypt(self._value, salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=length)
