"""Where a catalog lies: what any database must be able to do for it, and opening one.

The databases are catalog.sqlite and catalog.postgresql; nothing else knows how they differ.
Rule: a catalog of a newer version is refused, an older one emptied: the manifests have it all.
"""

from contextlib import AbstractContextManager
from typing import Any, Protocol, Self

from sqlalchemy import Connection, Dialect, Engine, ExceptionContext, event
from sqlalchemy.sql.functions import GenericFunction

from zdiffsync.catalog.schema import VERSION
from zdiffsync.errors import CatalogError, ConfigError


class Database(Protocol):
    """A place for one catalog.

    `dialect` writes statements whose parameters the driver takes by name. `repository` is the id of the only
    one whose points may stand here, None where that is for others to know.
    """

    @property
    def dialect(self) -> Dialect: ...  # noqa: D102 - see above

    @property
    def repository(self) -> str | None: ...  # noqa: D102 - see above

    def __str__(self) -> str:
        """Name it in messages, without secrets."""

    def engine(self) -> Engine:
        """Return what connects to it; reading needs no transaction. Raises CatalogError."""

    def changing(self, engine: Engine) -> AbstractContextManager[Connection]:
        """Open a transaction beside which there is no other; what it leaves by an error is undone."""

    def version(self, connection: Connection) -> int:
        """Return the version of the tables that are there, 0 when they are not all there."""

    def empty(self, connection: Connection) -> None:
        """Make all tables anew, of today's version."""

    def explained(self, error: BaseException) -> CatalogError | None:
        """Return what the driver raised as an error of ours, None when it is not the driver's."""

    def renewed(self) -> AbstractContextManager[Self]:
        """Give a place that takes this one's once the body has filled and closed it."""


class ContradictionError(CatalogError):
    """Rows were refused because there are others they cannot stand beside."""


class JsonEach(GenericFunction[Any]):
    """The values of a list, of any length, given as JSON."""

    name = "json_each"
    inherit_cache = True


def shared_catalog(url: str, repository: str) -> Database:
    """Return the place of a repository's catalog on a PostgreSQL server; `repository` is its id.

    Raises ConfigError when the URL is none, or the driver is missing.
    """
    try:
        from zdiffsync.catalog.postgresql import PostgresqlSchema  # noqa: PLC0415 - its driver may be missing
    except ImportError as error:
        raise ConfigError(
            "the catalog is to be on a PostgreSQL server, but its driver psycopg is missing; "
            "install it with pip install 'zdiffsync[postgresql]'"
        ) from error
    return PostgresqlSchema(url, repository)


def open_engine(database: Database) -> Engine:
    """Open or create the catalog in `database`; whatever that then refuses is a CatalogError too.

    Raises CatalogError naming what to do.
    """
    engine = connected(database)
    try:
        _bring_up(engine, database)
    except BaseException:
        engine.dispose()
        raise
    return engine


def connected(database: Database) -> Engine:
    """Return an engine whose errors are ours, and whose connections know their database."""
    engine = database.engine()
    engine.update_execution_options(database=database)

    def translate(context: ExceptionContext) -> None:
        error = database.explained(context.original_exception)
        if error is not None and not context.is_pre_ping:  # a lost connection is made anew before its use
            raise error from context.original_exception

    event.listen(engine, "handle_error", translate)
    return engine


def database_of(connection: Connection) -> Database:
    """Return the database that a connection of an engine of ours leads to."""
    found: Database = connection.get_execution_options()["database"]
    return found


def _bring_up(engine: Engine, database: Database) -> None:
    with engine.connect() as connection:
        if database.version(connection) == VERSION:
            return  # writes nothing, so a reader never waits for a run
    with database.changing(engine) as connection:  # all or nothing, and one process at a time
        version = database.version(connection)
        if version == VERSION:
            return  # another process was faster, and has perhaps put points into it already
        if version > VERSION:
            raise CatalogError(
                f"catalog {database} has version {version}, this zdiffsync knows {VERSION}; upgrade zdiffsync"
            )
        database.empty(connection)
