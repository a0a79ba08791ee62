"""The catalog's file: private, refused when it is not ours, readable while written."""

import os
import sqlite3

import pytest
from builders import file_entry, manifest
from sqlalchemy.schema import CreateTable

from zdiffsync.catalog.catalog import Catalog
from zdiffsync.catalog.schema import VERSION, Base
from zdiffsync.catalog.sqlite import SqliteFile
from zdiffsync.errors import CatalogError
from zdiffsync.format.manifest import (
    ObjectRecord,
    VersionRecord,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "catalog.sqlite"


def filled(path, *manifests):
    with Catalog(path) as catalog:
        for items in manifests:
            catalog.apply(items)
    return path


def rows(path):
    connection = sqlite3.connect(path)
    try:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
    finally:
        connection.close()


def test_it_is_private_with_all_that_belongs_to_it(path):
    before = os.umask(0)
    try:
        with Catalog(path) as catalog:
            catalog.apply(manifest(0))
            modes = {name: os.stat(path.parent / name).st_mode & 0o777 for name in os.listdir(path.parent)}
    finally:
        os.umask(before)
    assert modes.keys() >= {"catalog.sqlite", "catalog.sqlite-wal"}
    assert set(modes.values()) == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["a b?mode=memory", "100%25", "#é;drop", ":memory:"])
def test_any_path_will_do(tmp_path, name):
    path = filled(tmp_path / name / "catalog.sqlite", manifest(0))
    assert path.stat().st_size
    with Catalog(path) as catalog:
        assert len(catalog.points()) == 1


def test_file_size_grows_with_the_changes_alone(path):
    def changes(start, count):
        numbers = range(start, start + count)
        return [
            *(ObjectRecord(number, number, 1, b"dir/%06d" % number) for number in numbers),
            *(VersionRecord(number, file_entry(number), None) for number in numbers),
        ]

    sizes = []
    for sequence, (start, count) in enumerate([(1, 1), (2, 5000), (5002, 5000), (10002, 1)]):
        filled(path, manifest(sequence, changes(start, count)))
        sizes.append(path.stat().st_size)
    first, second, third, last = sizes
    assert (second - first) / 5000 < 400
    assert 0.5 < (third - second) / (second - first) < 2
    assert last - third <= 10 * 4096


def test_a_reader_does_not_wait_for_a_long_write(path):
    """Opening writes nothing, so `points` answers while a run takes in a large manifest."""
    filled(path, manifest(0))
    writer = sqlite3.connect(path)
    try:
        writer.execute("BEGIN IMMEDIATE")
        with Catalog(path) as catalog:
            assert len(catalog.points()) == 1
    finally:
        writer.close()


@pytest.mark.parametrize("tables", [(), ("chain", "point")])
def test_what_a_first_start_left_behind_is_no_obstacle(path, tables):
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    for table in tables:
        connection.execute(str(CreateTable(Base.metadata.tables[table])))
    connection.close()
    assert rows(filled(path, manifest(0)))["point"] == 1


def test_a_damaged_file_is_a_catalog_error(path):
    filled(path, manifest(0))
    path.write_bytes(b"not a database at all" * 500)
    with pytest.raises(CatalogError, match=r"catalog .*catalog\.sqlite is damaged .*delete it"):
        Catalog(path)


def test_damage_inside_is_a_catalog_error_too(path):
    filled(path, manifest(0, [ObjectRecord(n, n, 1, b"d/%d" % n) for n in range(1, 3000)]), manifest(1))
    data = bytearray(path.read_bytes())
    for page in range(1, len(data) // 4096):
        data[page * 4096 : page * 4096 + 100] = b"\xff" * 100
    path.write_bytes(data)
    for use in (Catalog.points, Catalog.manifests, lambda catalog: catalog.apply(manifest(2))):
        with (
            pytest.raises(CatalogError, match="delete it, it is made again from the remote"),
            Catalog(path) as it,
        ):
            use(it)


def test_a_newer_version_is_refused_and_left_alone(path):
    filled(path, manifest(0))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(CatalogError, match="has version 99, this zdiffsync knows 4; upgrade zdiffsync"):
        Catalog(path)
    assert rows(path)["point"] == 1


def test_an_older_one_is_emptied_to_be_filled_again(path):
    filled(path, manifest(0), manifest(1))
    connection = sqlite3.connect(path)
    connection.execute("DROP INDEX dirent_child")
    connection.execute("ALTER TABLE point DROP COLUMN stats")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    filled(path, manifest(0))
    assert rows(path)["point"] == 1
    connection = sqlite3.connect(path)
    assert "dirent_child" in {row[1] for row in connection.execute("PRAGMA index_list(dirent)")}
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    connection.close()


def test_what_another_process_made_in_between_is_not_emptied(path, monkeypatch):
    filled(path, manifest(0, [ObjectRecord(1, 1, 1, None)]))
    asked = []

    def late(database, connection, real=SqliteFile.version):
        asked.append(connection)
        return 0 if len(asked) == 1 else real(database, connection)

    monkeypatch.setattr(SqliteFile, "version", late)
    with Catalog(path) as catalog:
        assert len(catalog.points()) == 1
    assert len(asked) == 2


def test_where_no_file_can_be(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CatalogError, match=r"cannot open the catalog .*: File exists"):
        Catalog(tmp_path / "file" / "catalog.sqlite")
    (tmp_path / "catalog.sqlite").mkdir()
    with pytest.raises(CatalogError, match=r"cannot open the catalog .*: Is a directory"):
        Catalog(tmp_path / "catalog.sqlite")
    with pytest.raises(CatalogError, match=r"cannot open the catalog /proc/"):
        Catalog(type(tmp_path)("/proc/sys/kernel/zdiffsync/catalog.sqlite"))


def test_a_full_disk_is_a_catalog_error(path):
    filled(path, manifest(0))
    with Catalog(path) as catalog:
        with catalog._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1")
        before = rows(path)
        big = [ObjectRecord(n, n, 1, b"x" * 200) for n in range(1, 3000)]
        with pytest.raises(CatalogError, match=r"database or disk is full; check .* free space"):
            catalog.apply(manifest(1, big))
        assert rows(path) == before
