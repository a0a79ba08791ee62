"""The repository password. Rule: never printed, never in an argument, read from a private file."""

import hashlib
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
            mode = path.stat().st_mode
            value = path.read_bytes().removesuffix(b"\n")
        except OSError as error:
            raise ConfigError(
                f"cannot read the password file {path}: {error.strerror}; see password_file in the configuration"
            ) from error
        if mode & _OTHERS:
            raise ConfigError(f"the password file {path} can be read by others; run chmod 600 {path}")
        if not value:
            raise ConfigError(f"the password file {path} is empty")
        return cls(value)

    def crypt_passwords(self, repository: str) -> tuple[str, str]:
        """Derive rclone crypt's two passwords for one repository: scrypt, 64 hex digits each.

        hashlib.scrypt(password, salt=repository id, n=2**15, r=8, p=1, dklen=64), cut in half.
        """
        key = hashlib.scrypt(
            self._value, salt=repository.encode(), n=1 << 15, r=8, p=1, maxmem=1 << 26, dklen=64
        )
        return key[:32].hex(), key[32:].hex()
