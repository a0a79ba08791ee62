"""Opening the catalog file: SQLite in WAL mode, private to its owner, of a schema we know.

Rule: a catalog of an unknown version is refused, never guessed at.
"""

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DatabaseError

from zdiffsync.catalog.schema import VERSION, Base
from zdiffsync.errors import CatalogError

# Statements that bring a catalog from version N to N + 1; index 0 stays empty since 1 is the first.
MIGRATIONS: tuple[tuple[str, ...], ...] = ((),)


def open_engine(path: Path) -> Engine:
    """Open or create the catalog at `path`. Raises CatalogError naming what to do."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        engine = create_engine(f"sqlite:///{path}")
        event.listen(engine, "connect", _prepare)
        with engine.begin() as connection:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            if version > VERSION:
                raise CatalogError(
                    f"catalog {path} has version {version}, this zdiffsync knows {VERSION}; upgrade zdiffsync"
                )
            if version == 0:
                Base.metadata.create_all(connection)
            for statements in MIGRATIONS[max(version, 1) :]:
                for statement in statements:
                    connection.exec_driver_sql(statement)
            connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")
    except OSError as error:
        raise CatalogError(f"cannot open the catalog {path}: {error.strerror}") from error
    except DatabaseError as error:
        raise CatalogError(
            f"catalog {path} is damaged ({error.orig}); delete it, it is made again from the remote"
        ) from error
    return engine


def _prepare(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
