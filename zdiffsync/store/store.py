"""An opened remote as two areas of objects: `plain` at its root, `data` encrypted by rclone crypt.

Between the backup and restore flows and rclone. Rule: everything but the repository's mark and
restic's repository goes through `data`.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from zdiffsync.external.rclone_daemon import RcloneDaemon
from zdiffsync.external.rclone_env import DATA, NO_OPTIONS, PATIENCE, PLAIN, crypt_setup, plain_setup
from zdiffsync.store.area import Area
from zdiffsync.store.secret import Secret

__all__ = ["Area", "Store"]


class Store:
    """One opened remote; a context manager, closing it ends its rclone.

    `environment` holds the variables that define the plain remote, for restic's rclone; no secret of
    ours is among them.
    """

    def __init__(
        self,
        remote: str,
        password: Secret,
        repository: str,
        *,
        transfers: int = 4,
        bwlimit: str | None = None,
        patience: float = PATIENCE,
        options: Mapping[str, str] = NO_OPTIONS,
    ) -> None:
        """Set up the remote without touching it; `repository` is the id the key is derived with.

        `transfers`: objects moved at once; `bwlimit` in rclone's notation; `patience`: seconds until a
        call that gets no answer fails; `options`: further variables of rclone's. Raises
        ConfigError for a remote rclone cannot mean, ToolMissingError.
        """
        plain = plain_setup(remote, transfers=transfers, bwlimit=bwlimit, patience=patience, options=options)
        self.environment = dict(plain.environment)
        self._daemon = RcloneDaemon(crypt_setup(plain, *password.crypt_passwords(repository)))
        self.plain = Area(self._daemon, PLAIN, transfers)
        self.data = Area(self._daemon, DATA, transfers)

    def close(self) -> None:
        """End rclone; using the areas raises RemoteError from here on."""
        self._daemon.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
