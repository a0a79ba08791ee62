"""Opening the catalog file: SQLite in WAL mode, private to its owner, of a schema we know.

Rule: a catalog of a newer version is refused, an older one emptied: the manifests have it all.
SQLite's errors become ours here.
"""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event

from zdiffsync.catalog.schema import VERSION, Base
from zdiffsync.errors import CatalogError

_PATIENCE = 10  # seconds to wait for other processes
_PAUSE = 0.01


def open_engine(path: Path) -> Engine:
    """Open or create the catalog at `path`; whatever SQLite then refuses is a CatalogError too.

    Raises CatalogError naming what to do.
    """
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
    event.listen(engine, "handle_error", _translator(path))
    try:
        with engine.begin() as connection:
            _bring_up(connection, path)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _bring_up(connection: Connection, path: Path) -> None:
    if _version(connection) == VERSION:
        return  # writes nothing, so a reader never waits for a run
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # all or nothing, and one process at a time
    version = _version(connection)
    if version == VERSION:
        return  # another process was faster, and has perhaps put points into it already
    if version > VERSION:
        raise CatalogError(
            f"catalog {path} has version {version}, this zdiffsync knows {VERSION}; upgrade zdiffsync"
        )
    Base.metadata.drop_all(connection)
    Base.metadata.create_all(connection)
    connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")


def _version(connection: Connection) -> int:
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


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


def _translator(path: Path) -> Callable[[ExceptionContext], None]:
    def translate(context: ExceptionContext) -> None:
        if isinstance(context.original_exception, sqlite3.DatabaseError):
            raise explained(path, context.original_exception) from context.original_exception

    return translate


def explained(path: Path, error: sqlite3.DatabaseError) -> CatalogError:
    """Return what SQLite said of the catalog at `path` as an error of ours."""
    if isinstance(error, sqlite3.OperationalError):
        return CatalogError(
            f"cannot use the catalog {path}: {error}; check its permissions and the free space"
        )
    return CatalogError(f"catalog {path} is damaged ({error}); delete it, it is made again from the remote")
