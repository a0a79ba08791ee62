"""The catalog on a PostgreSQL server, for all hosts of a repository: a schema named after it.

Another version of the tables has another schema, so that hosts can be upgraded one by one.
Rule: one host at a time changes a schema, by an advisory lock; nothing said here holds a password.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import (
    Connection,
    Dialect,
    Engine,
    FunctionElement,
    create_engine,
    event,
    func,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects.postgresql.psycopg import dialect
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from zdiffsync.catalog.database import ContradictionError, JsonEach, connected
from zdiffsync.catalog.schema import VERSION, Base, JournalRow, RunRow
from zdiffsync.errors import CatalogError, ConfigError, LockedError

_SCHEMES = ("postgresql", "postgresql+psycopg")
# Seconds and milliseconds; libpq's and the server's own ones would have a run wait for hours, or for ever.
_CONNECTION = {"connect_timeout": "10", "keepalives_idle": "30", "tcp_user_timeout": "60000"}
_FOR_CHANGES = (
    "lock_timeout = '30min'",
    "idle_in_transaction_session_timeout = '10min'",
    "plan_cache_mode = force_custom_plan",
)
_ADVICE = {  # by SQLSTATE or its class
    "40": "run again",
    "42501": "let the user own the database",
    "42P01": "let the user own its schema, or drop that: it is made again from the remote",
    "53": "see to the server's free space and connections",
    "55P03": "another host has been changing it for half an hour; run again",
}
_UNREACHABLE = "see whether the server runs and can be reached from here"
_OF_REFUSALS = ("FATAL", "password", "option")  # connecting gives errors no code
_REFUSED = "check user, password (in ~/.pgpass) and database of the key catalog, and the server's pg_hba.conf"
# Not to_regclass(): it may not know yet what another host has made while we waited for it.
_TABLES = text(
    "SELECT relname, reltuples FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
    " WHERE nspname = :schema AND relkind = 'r'"
)


class PostgresqlSchema:
    """A repository's schema in the database that a URL names. A Database."""

    dialect: Dialect = dialect()  # type: ignore[no-untyped-call]  # of SQLAlchemy
    repository: str | None

    def __init__(self, url: str, repository: str | None, *, tail: str = "") -> None:
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):
            parsed = None
        # An @ in the host is the end of a password.
        if parsed is None or parsed.drivername not in _SCHEMES or "@" in (parsed.host or ""):
            raise ConfigError(
                "the key catalog is no URL of a PostgreSQL database; write it like "
                "'postgresql://user@host/database', and signs in a password like %40"
            )
        self._given, self.repository = url, repository
        self._url = parsed.set(drivername=_SCHEMES[-1], query=_CONNECTION | dict(parsed.query))
        self.schema = f"zdiffsync_{VERSION}_{repository}{tail}"

    def __str__(self) -> str:
        place = f" on {self._url.host}" if self._url.host else ""
        return f"{self._url.database or self._url.username or 'PostgreSQL'}{place}"

    def engine(self) -> Engine:
        """See Database."""
        # A mount lives for weeks, and a connection may not: it is tried before its use.
        engine = create_engine(self._url, isolation_level="AUTOCOMMIT", pool_pre_ping=True, max_overflow=-1)

        def prepare(connection: Any, _record: object) -> None:
            connection.execute(f"SET search_path TO {self.schema}")
            connection.commit()

        event.listen(engine, "connect", prepare)
        return engine

    @contextmanager
    def changing(self, engine: Engine) -> Iterator[Connection]:
        """See Database. Waits for other hosts; who does nothing for long loses the lock."""
        with engine.execution_options(isolation_level="READ COMMITTED").begin() as connection:
            for setting in _FOR_CHANGES:
                connection.exec_driver_sql(f"SET LOCAL {setting}")
            connection.execute(select(func.pg_advisory_xact_lock(_key(self.schema))))
            yield connection
            self._analyze(connection)

    def _analyze(self, connection: Connection) -> None:
        """Let the server look at tables it knows nothing of; later it does so by itself, but not at once."""
        tables = connection.execute(_TABLES, {"schema": self.schema})
        if unknown := [table.relname for table in tables if table.reltuples < 1]:
            connection.exec_driver_sql(f"ANALYZE {', '.join(unknown)}")

    def version(self, connection: Connection) -> int:
        """See Database: tables of another version are in another schema."""
        return VERSION if connection.execute(_TABLES, {"schema": self.schema}).first() else 0

    def empty(self, connection: Connection) -> None:
        """See Database. The journal stays with its host."""
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {self.schema}")
        local = {RunRow.__table__, JournalRow.__table__}
        tables = [table for table in Base.metadata.sorted_tables if table not in local]
        Base.metadata.create_all(connection, tables, checkfirst=False)

    def explained(self, error: BaseException) -> CatalogError | None:
        """See Database."""
        if not isinstance(error, psycopg.Error):
            return None
        words = (str(error).strip() or type(error).__name__).splitlines()[0]
        state = error.sqlstate or ""
        advice = _ADVICE.get(state) or _ADVICE.get(state[:2])
        connecting = not state and isinstance(error, psycopg.ProgrammingError)
        if advice is None and (connecting or isinstance(error, psycopg.OperationalError)):
            refused = not state and any(word in words for word in _OF_REFUSALS)
            advice = _REFUSED if refused else _UNREACHABLE
        if advice is not None:
            return CatalogError(f"cannot use the catalog {self}: {words}; {advice}")
        contradiction = isinstance(error, psycopg.IntegrityError | psycopg.DataError)
        kind = ContradictionError if contradiction else CatalogError
        return kind(
            f"catalog {self} is damaged ({words}); drop its schema {self.schema}, it is made again from the "
            "remote"
        )

    @contextmanager
    def renewed(self) -> Iterator["PostgresqlSchema"]:
        """See Database. Broken off, it goes on with the same schema. Raises LockedError."""
        new = PostgresqlSchema(self._given, self.repository, tail="_rebuild")
        engine = connected(self)
        try:
            with engine.connect() as connection:
                if not connection.execute(
                    select(func.pg_try_advisory_lock(_key(f"{self.schema} anew")))
                ).scalar():
                    raise LockedError(f"another host makes the catalog {self} again; wait for it to end")
                yield new
                with self.changing(engine) as change:
                    change.exec_driver_sql(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")
                    change.exec_driver_sql(f"ALTER SCHEMA {new.schema} RENAME TO {self.schema}")
        finally:
            engine.dispose()


def _key(name: str) -> Any:
    return func.hashtextextended(name, 0)


@compiles(JsonEach, "postgresql")
def _json_each(element: FunctionElement[Any], compiler: SQLCompiler, **more: Any) -> str:
    return f"json_array_elements_text(CAST({compiler.process(element.clauses, **more)} AS json))"
