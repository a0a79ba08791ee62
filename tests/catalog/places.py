"""Places for a catalog: a file, and a schema on a real PostgreSQL server."""

import sqlite3
from contextlib import closing

from zdiffsync.catalog.catalog import Catalog
from zdiffsync.catalog.database import shared_catalog

REPOSITORY = "r" * 32  # of the builders' manifests


class FilePlace:
    def __init__(self, folder):
        self.path = folder / "state" / "catalog.sqlite"

    def open(self):
        return Catalog(self.path)

    def filled(self, *manifests):
        with self.open() as catalog:
            for items in manifests:
                catalog.apply(items)
        return self

    def rows(self):
        """How many rows each table has."""
        return {name: len(rows) for name, rows in self.contents().items()}

    def contents(self):
        """All rows of all tables."""
        with closing(sqlite3.connect(self.path)) as connection:
            names = [
                row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
            ]
            return {name: list(connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2")) for name in names}


class ServerPlace(FilePlace):
    def __init__(self, folder, server):
        super().__init__(folder)
        self.server, self.database = server, shared_catalog(server.url(), REPOSITORY)

    def open(self):
        return Catalog(self.database, self.path)

    def contents(self):
        schema = self.database.schema
        names = self.server.execute(f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'")
        return {
            name: self.server.execute(f"SELECT * FROM {schema}.{name} ORDER BY 1, 2") for (name,) in names
        }
