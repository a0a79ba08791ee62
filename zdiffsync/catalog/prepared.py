"""Statements that one run asks a million times, without SQLAlchemy between them and the driver.

SQLAlchemy takes ten times longer to pass a statement on than SQLite to answer it. Rule: SQLAlchemy builds
them, so they follow the schema, and they run in its connection's transaction; errors are translated as its
own are.
"""

from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Select
from sqlalchemy.sql.dml import UpdateBase

from zdiffsync.catalog.database import Database, database_of


class Prepared:
    """One statement, compiled when first used. `columns` are those an insert is given, in a row's keys."""

    def __init__(
        self, statement: Select[*tuple[Any, ...]] | UpdateBase, columns: Sequence[str] | None = None
    ) -> None:
        self._statement, self._columns = statement, columns
        self._compiled: dict[str, str] = {}

    def _sql(self, database: Database) -> str:
        dialect = database.dialect
        if dialect.name not in self._compiled:
            compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
            self._compiled[dialect.name] = str(compiled)
        return self._compiled[dialect.name]

    @cached_property
    def _row(self) -> Any:
        assert isinstance(self._statement, Select), "only a select has rows"
        return namedtuple("Row", [str(column.key) for column in self._statement.selected_columns])  # noqa: PYI024 - columns are known to the statement only

    def ask(self, connection: Connection, values: Mapping[str, object]) -> list[Any]:
        """Return the rows, columns by their names. Raises CatalogError."""
        database = database_of(connection)
        try:
            found = _cursor(connection).execute(self._sql(database), values).fetchall()
        except Exception as error:
            raise database.explained(error) or error from error
        return list(map(self._row._make, found))

    def run(self, connection: Connection, rows: Iterable[Mapping[str, object]]) -> None:
        """Carry it out for every row. Raises CatalogError."""
        database = database_of(connection)
        try:
            _cursor(connection).executemany(self._sql(database), rows)
        except Exception as error:
            raise database.explained(error) or error from error


def _cursor(connection: Connection) -> Any:
    return connection.connection.driver_connection.cursor()  # type: ignore[union-attr]  # open, so there is one
