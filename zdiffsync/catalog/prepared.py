"""Statements that one run asks a million times, without SQLAlchemy between them and SQLite.

SQLAlchemy takes ten times longer to pass a statement on than SQLite to answer it. Rule: SQLAlchemy builds
them, so they follow the schema, and they run in its connection's transaction; errors are translated as its
own are.
"""

import sqlite3
from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select
from sqlalchemy.dialects.sqlite import dialect
from sqlalchemy.sql.dml import UpdateBase

from zdiffsync.catalog.database import explained

_NAMED = dialect(paramstyle="named")


class Prepared:
    """One statement, compiled when first used. `columns` are those an insert is given, in a row's keys."""

    def __init__(
        self, statement: Select[*tuple[Any, ...]] | UpdateBase, columns: Sequence[str] | None = None
    ) -> None:
        self._statement, self._columns = statement, columns

    @cached_property
    def _sql(self) -> str:
        return str(self._statement.compile(dialect=_NAMED, column_keys=self._columns))

    @cached_property
    def _row(self) -> Any:
        assert isinstance(self._statement, Select), "only a select has rows"
        return namedtuple("Row", [str(column.key) for column in self._statement.selected_columns])  # noqa: PYI024 - columns are known to the statement only

    def ask(self, connection: Connection, values: Mapping[str, object]) -> list[Any]:
        """Return the rows, columns by their names. Raises CatalogError."""
        try:
            found = _driver(connection).execute(self._sql, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise _explained(connection, error) from error
        return list(map(self._row._make, found))

    def run(self, connection: Connection, rows: Iterable[Mapping[str, object]]) -> None:
        """Carry it out for every row. Raises CatalogError."""
        try:
            _driver(connection).executemany(self._sql, rows)
        except sqlite3.DatabaseError as error:
            raise _explained(connection, error) from error


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection), "the catalog is SQLite's"
    return driver


def _explained(connection: Connection, error: sqlite3.DatabaseError) -> Exception:
    return explained(Path(connection.engine.url.database or ""), error)
