"""The catalog as a file: SQLite in WAL mode, private to its owner.

Rule: whoever changes something says so before looking at what is there (BEGIN IMMEDIATE).
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any, ClassVar

from sqlalchemy import URL, Connection, Dialect, Engine, create_engine, event
from sqlalchemy.dialects.sqlite import dialect

from zdiffsync.catalog.database import ContradictionError, connected
from zdiffsync.catalog.schema import VERSION, Base
from zdiffsync.errors import CatalogError

_PATIENCE = 10  # seconds to wait for other processes
_PAUSE = 0.01
# Digests lead to pages all over the file: 16 MiB of it are kept, and as much is written at once.
_FOR_CHANGES = ("cache_size = -16384", "wal_autocheckpoint = 4096")


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A catalog's file. A Database."""

    path: Path
    dialect: ClassVar[Dialect] = dialect(paramstyle="named")
    repository: ClassVar[str | None] = None

    def __str__(self) -> str:
        return str(self.path)

    def engine(self) -> Engine:
        """Return what opens the file; makes it first. Raises CatalogError."""
        path = self.path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise CatalogError(
                f"cannot open the catalog {path}: {error.strerror}; set state_dir or run as root"
            ) from error
        # A URL written out breaks on ? and %; how many threads read at once is for the callers to bound.
        engine = create_engine(URL.create("sqlite", database=str(path)), max_overflow=-1)
        event.listen(engine, "connect", _prepare)
        return engine

    @contextmanager
    def changing(self, engine: Engine) -> Iterator[Connection]:
        """See Database."""
        with engine.begin() as connection:
            for pragma in _FOR_CHANGES:
                connection.exec_driver_sql(f"PRAGMA {pragma}")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    def version(self, connection: Connection) -> int:
        """See Database."""
        return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())

    def empty(self, connection: Connection) -> None:
        """See Database."""
        Base.metadata.drop_all(connection)
        Base.metadata.create_all(connection)
        connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")

    def explained(self, error: BaseException) -> CatalogError | None:
        """See Database."""
        if not isinstance(error, sqlite3.DatabaseError):
            return None
        if isinstance(error, sqlite3.OperationalError):
            return CatalogError(
                f"cannot use the catalog {self.path}: {error}; check its permissions and the free space"
            )
        kind = ContradictionError if isinstance(error, sqlite3.IntegrityError) else CatalogError
        return kind(f"catalog {self.path} is damaged ({error}); delete it, it is made again from the remote")

    @contextmanager
    def renewed(self) -> Iterator["SqliteFile"]:
        """See Database. Broken off, it goes on with the same file."""
        new = SqliteFile(self.path.with_name(f"{self.path.name}.rebuild"))
        yield new
        new._settle()
        # SQLite would apply what is left of the old one to the new, and cannot read the old one without it.
        for tail in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + tail).unlink(missing_ok=True)
        new.path.replace(self.path)

    def _settle(self) -> None:
        """Have everything in the one file. Closing leaves the rest beside it where the disk is full."""
        engine = connected(self)
        try:
            with engine.connect() as connection:
                busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
        finally:
            engine.dispose()
        if busy:
            raise CatalogError(f"catalog {self.path} is in use; run again")


def _prepare(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={_PATIENCE * 1000}", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    end = monotonic() + _PATIENCE
    while True:  # on changing the mode SQLite does not wait for other processes by itself
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() > end:
                raise
            sleep(_PAUSE)
    cursor.close()
