"""The catalog on a PostgreSQL server: who gets in, what is refused, what hosts do to each other."""

import sys
from contextlib import closing

import psycopg
import pytest
from builders import manifest
from places import REPOSITORY, ServerPlace

from postgresql_server import PASSWORD, URL_PASSWORD
from zdiffsync.catalog.catalog import Catalog, renewed
from zdiffsync.catalog.database import shared_catalog
from zdiffsync.catalog.view import Node
from zdiffsync.errors import CatalogError, ConfigError, IntegrityError, LockedError
from zdiffsync.format.manifest import LinksRecord, ObjectRecord


@pytest.fixture
def shared(tmp_path, postgresql):
    yield ServerPlace(tmp_path, postgresql)
    postgresql.drop_schemas()


def refused(url, tmp_path):
    with pytest.raises(CatalogError) as caught:
        Catalog(shared_catalog(url, REPOSITORY), tmp_path / "own.sqlite")
    return str(caught.value)


def test_the_password_of_the_url_opens_it(postgresql, tmp_path):
    url = postgresql.tcp_url(URL_PASSWORD)
    with Catalog(shared_catalog(url, REPOSITORY), tmp_path / "own.sqlite") as catalog:
        assert catalog.points() == []
    postgresql.drop_schemas()


def test_the_password_may_lie_in_a_file(postgresql, tmp_path, monkeypatch):
    file = tmp_path / "pgpass"
    file.write_text("127.0.0.1:*:*:*:" + PASSWORD.replace(":", r"\:"))
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    url = postgresql.tcp_url("").replace(":@", "@")
    with Catalog(shared_catalog(url, REPOSITORY), tmp_path / "own.sqlite") as catalog:
        assert catalog.points() == []
    postgresql.drop_schemas()


def test_who_does_not_get_in_is_told_why(postgresql, tmp_path):
    postgresql.execute("CREATE ROLE guest LOGIN")
    missing = postgresql.url("missing")
    assert "password authentication failed" in refused(postgresql.tcp_url("wrongword"), tmp_path)
    for url, words in (
        (postgresql.tcp_url("wrongword"), r"check user, password (in ~/.pgpass) and database"),
        (missing, 'FATAL:  database "missing" does not exist; check user, password'),
        (postgresql.url(user="nobody"), 'role "nobody" does not exist; check user'),
        (postgresql.url(user="guest"), "permission denied for database postgres; let the user own the"),
        ("postgresql://a:wrongword@127.0.0.1:1/b", "Connection refused; see whether the server runs"),
        (postgresql.url() + "&passwort=wrongword", 'invalid connection option "passwort"; check'),
    ):
        text = refused(url, tmp_path)
        assert words in text
        assert "wrongword" not in text
        assert "\n" not in text


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:wrongword@h/d",
        "wrongword",
        "postgresql://u:wrongword@h:x/d",
        "postgresql://u:a@wrongword@h/d",
    ],
)
def test_what_is_no_url_is_not_repeated(url):
    with pytest.raises(ConfigError, match="the key catalog is no URL of a PostgreSQL database") as caught:
        shared_catalog(url, REPOSITORY)
    assert "wrongword" not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"


def test_a_missing_driver_is_named_with_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "zdiffsync.catalog.postgresql", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"psycopg is missing; install it with .*\[postgresql\]"):
        shared_catalog("postgresql:///x", REPOSITORY)


def test_paths_longer_than_an_index_takes(shared):
    path = b"/".join(b"%0200d" % number for number in range(40))
    shared.filled(manifest(0, [ObjectRecord(1, 34, 1, path), LinksRecord(5, 1, (path, path + b"x"))]))
    with shared.open() as catalog:
        point = catalog.points()[0]
        assert catalog.ledger(point) == {(5, 1): (path, path + b"x")}
        with catalog.view(point) as view:
            assert view.resolve(path) == Node(1, path)
            assert view.overlaid([path, b"other"]) == {path: 1}


def test_text_that_postgresql_cannot_hold_is_damage(shared):
    with shared.open() as catalog, pytest.raises(IntegrityError, match=r"cannot contain NUL .*0x00"):
        catalog.apply(manifest(0, dataset="a\0b"))


def test_repositories_in_one_database_do_not_mix(shared, tmp_path):
    shared.filled(manifest(0))
    other = shared_catalog(shared.server.url(), "f" * 32)
    with Catalog(other, tmp_path / "other.sqlite") as catalog:
        assert catalog.points() == []
        with pytest.raises(CatalogError, match="is of another repository than the catalog"):
            catalog.apply(manifest(1))


def test_tables_of_another_version_are_left_to_those_who_use_them(shared):
    shared.server.execute(f"CREATE SCHEMA zdiffsync_3_{REPOSITORY} CREATE TABLE point (key text)")
    shared.filled(manifest(0))
    assert shared.rows()["point"] == 1
    assert shared.server.execute(f"SELECT * FROM zdiffsync_3_{REPOSITORY}.point") == []


def test_a_schema_without_its_tables_says_what_to_do(shared):
    shared.filled(manifest(0))
    with shared.open() as catalog:
        shared.server.execute(f"DROP SCHEMA {shared.database.schema} CASCADE")
        with pytest.raises(CatalogError, match="does not exist; let the user own its schema, or drop that"):
            catalog.points()


def test_a_connection_that_was_lost_is_made_anew(shared):
    shared.filled(manifest(0))
    with shared.open() as catalog:
        assert len(catalog.points()) == 1
        with catalog.view(catalog.points()[0]) as view:
            shared.server.end_others()
            with pytest.raises(CatalogError, match=r"terminating connection .*; see whether the server runs"):
                view.root()
        assert len(catalog.points()) == 1


def test_the_journal_stays_with_its_host(shared):
    shared.filled(manifest(0))
    assert not {"run", "journal"} & shared.rows().keys()
    assert shared.path.exists()


def test_one_made_anew_takes_the_place_of_the_old_when_it_is_whole(shared):
    shared.filled(manifest(0, chain="d" * 16), manifest(0), manifest(1))

    def again(count, error=None):
        with renewed(shared.database, shared.path) as catalog:
            before = len(catalog.points())
            for sequence in range(count):
                catalog.apply(manifest(sequence))
            if error:
                raise error
        return before

    with shared.open() as reader:
        chain = reader.points()[-1].chain_id
        with pytest.raises(KeyError):
            again(1, KeyError("broken off"))
        assert len(reader.points()) == 3
        with renewed(shared.database, shared.path), pytest.raises(LockedError, match="another host makes"):
            again(1)
        assert len(reader.points()) == 1
        assert again(3) == 0
        assert {point.chain_id for point in reader.points()} == {chain}
    assert shared.server.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'zdiffsync%'") == [
        (1,)
    ]


def test_reading_leaves_no_transaction_behind(shared):
    shared.filled(manifest(0))
    with shared.open() as catalog, catalog.view(catalog.points()[0]) as view:
        view.names(view.root())
        with closing(psycopg.connect(shared.server.url())) as other:
            states = other.execute(
                "SELECT state FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND backend_type = 'client backend'"
            ).fetchall()
    assert set(states) == {("idle",)}
