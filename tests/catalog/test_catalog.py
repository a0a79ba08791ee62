"""What the catalog holds, in a file and on a PostgreSQL server: points, views, the ledger, the journal."""

import threading

import pytest
from builders import CHAIN, content, directory_entry, file_entry, manifest, point_key

from zdiffsync.catalog.catalog import Root
from zdiffsync.catalog.journal import UnfinishedRun
from zdiffsync.catalog.view import Node
from zdiffsync.errors import CatalogError, ChainError, IntegrityError
from zdiffsync.format.manifest import (
    IN_BASE,
    LinksRecord,
    NameRecord,
    ObjectRecord,
    PackRecord,
    VersionRecord,
)
from zdiffsync.store.names import ManifestName


def test_points_come_back(place):
    place.filled(manifest(0, stats={"files_total": 3}), manifest(1), manifest(0, chain="d" * 16, dataset="b"))
    with place.open() as catalog:
        base, increment = catalog.points("tank/data")
        assert (base.kind, increment.kind) == ("base", "increment")
        assert base.stats == {"files_total": 3}
        assert (base.dataset_guid, base.guid, increment.guid) == (2**64 - 7, 2**63, 2**63 + 1)
        assert (increment.restic, increment.excludes) == ("e" * 64, "f" * 16)
        assert increment.key == point_key(1)
        assert catalog.manifests() == {
            ManifestName(CHAIN, 0, 0), ManifestName(CHAIN, 1, 1), ManifestName("d" * 16, 0, 0)
        }  # fmt: skip
        assert [point.dataset for point in catalog.points()] == ["tank/data", "b", "tank/data"]
        assert catalog.points("none") == []


def test_the_roots_of_all_points_come_at_once(place):
    root = ObjectRecord(1, 34, 1, b"")
    before, after = directory_entry(5), directory_entry(6)
    place.filled(
        manifest(
            0,
            [
                root,
                ObjectRecord(2, 50, 7, b"x"),
                VersionRecord(1, before, None),
                VersionRecord(2, before, None),
            ],
        ),
        manifest(1),
        manifest(2, [VersionRecord(1, after, None)]),
        manifest(0, [ObjectRecord(9, 4, 1, b""), VersionRecord(9, after, None)], chain="d" * 16, dataset="b"),
    )
    with place.open() as catalog:
        roots = {(p.dataset, p.sequence): catalog.roots()[p.id] for p in catalog.points()}
    one, two = Root(1, 34, before), Root(1, 34, after)
    assert roots == {
        ("tank/data", 0): one,
        ("tank/data", 1): one,
        ("tank/data", 2): two,
        ("b", 0): Root(9, 4, after),
    }


def test_the_stamp_tells_when_points_change(place):
    with place.open() as catalog:
        stamps = [catalog.stamp()]
        for items in manifest(0), manifest(1):
            catalog.apply(items)
            assert catalog.stamp() == catalog.stamp()
            stamps.append(catalog.stamp())
    assert len(set(stamps)) == 3


def test_contents_packs_and_versions_come_back(place):
    entry = file_entry(5, target=None, xattrs=((b"user.a", b""), (b"user.b", bytes(range(256)))))
    plain, delta = content(1), content(2, "b" * 32, source=IN_BASE, source_path=b"old\xff", depth=1)
    records = [PackRecord("a" * 32, 100, "1" * 64), plain, delta, ObjectRecord(1, 50, 7, b"x\ny")]
    place.filled(
        manifest(0, [*records, VersionRecord(1, entry, 2)]),
        manifest(1, [VersionRecord(1, entry, None)]),
    )
    with place.open() as catalog:
        first, second = catalog.points()
        assert catalog.last_numbers(first) == (1, 2)
        assert catalog.packed_bytes(first) == 100
        with catalog.view(first) as view:
            assert (view.version(1).entry, view.version(1).content) == (entry, 2)
            assert (view.content(1), view.content(2)) == (plain, delta)
            assert view.content_with_digest(plain.digest, 5) == plain
            assert view.content_with_digest(plain.digest, 6) is None
            assert view.pack("a" * 32) == PackRecord("a" * 32, 100, "1" * 64)
            assert view.changed_objects() == [Node(1, b"x\ny")]
            with pytest.raises(CatalogError, match="lacks content 3"):
                view.content(3)
            with pytest.raises(CatalogError, match="lacks pack cccc"):
                view.pack("c" * 32)
        with catalog.view(second) as view:
            assert view.version(1).content is None


def test_a_time_that_sqlite_cannot_hold_is_the_last_that_it_can(place):
    times = (10**10 * 10**9, -(10**11) * 10**9)
    records = [ObjectRecord(1, 50, 7, b"x"), ObjectRecord(2, 51, 7, b"y")]
    records += [VersionRecord(number + 1, directory_entry(time), None) for number, time in enumerate(times)]
    place.filled(manifest(0, records))
    with place.open() as catalog, catalog.view(catalog.points()[0]) as view:
        assert [view.version(number).entry.mtime_ns for number in (1, 2)] == [2**63 - 1, -(2**63)]


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([VersionRecord(1, directory_entry(), None)], "names object 1, which no manifest of its chain has"),
        ([ObjectRecord(1, 5, 1, None), VersionRecord(1, file_entry(5), 9)], "names content 9"),
        ([ObjectRecord(1, 5, 1, b""), NameRecord(1, b"n", 2)], "names object 2"),
        ([ObjectRecord(2, 5, 1, None), NameRecord(1, b"n", 2)], "names object 1"),
        ([ObjectRecord(1, 5, 1, None), ObjectRecord(1, 6, 1, None)], "contradicts itself or another"),
        ([content(1), content(1)], "contradicts itself or another"),
        ([LinksRecord(5, 1, (b"a", b"a"))], "contradicts itself or another"),
    ],
)
def test_records_that_refer_to_nothing_or_come_twice_are_refused_whole(place, records, words):
    with place.open() as catalog:
        catalog.apply(manifest(0))
        with pytest.raises(IntegrityError, match=words):
            catalog.apply(manifest(1, records))
        assert len(catalog.points()) == 1
    assert place.rows()["object"] == place.rows()["content"] == place.rows()["dirent"] == 0


def test_what_is_named_may_come_behind_what_names_it(place):
    records = [NameRecord(1, b"n", 2), VersionRecord(2, file_entry(5), 1), content(1)]
    place.filled(manifest(0, [*records, ObjectRecord(1, 5, 1, b""), ObjectRecord(2, 6, 1, None)]))
    with place.open() as catalog, catalog.view(catalog.points()[0]) as view:
        assert view.resolve(b"n") == Node(2, None)


@pytest.mark.parametrize(
    "names", [[NameRecord(2, b"a", 3), NameRecord(3, b"b", 2)], [NameRecord(2, b"a", 2)]]
)
def test_paths_of_what_lies_in_itself_are_damage(place, names):
    objects = [ObjectRecord(number, number, 1, None) for number in (2, 3, 4)]
    place.filled(manifest(0, [ObjectRecord(1, 1, 1, b""), *objects, *names, NameRecord(2, b"f", 4)]))
    with place.open() as catalog, catalog.view(catalog.points()[0]) as view:
        with pytest.raises(IntegrityError, match="lies in itself"):
            view.paths(view.node(4))
        with pytest.raises(CatalogError, match="lacks object 9"):
            view.node(9)


def test_paths_below_a_directory_with_two_names_are_damage(place):
    names = [NameRecord(1, b"a", 2), NameRecord(1, b"b", 2), NameRecord(2, b"f", 3)]
    objects = [ObjectRecord(1, 1, 1, b""), ObjectRecord(2, 2, 1, None), ObjectRecord(3, 3, 1, None)]
    place.filled(manifest(0, [*objects, *names]))
    with (
        place.open() as catalog,
        catalog.view(catalog.points()[0]) as view,
        pytest.raises(IntegrityError, match="directory 2 of the chain has two names"),
    ):
        view.paths(view.node(3))


def test_the_ledger_is_replaced_object_by_object(place):
    with place.open() as catalog:
        catalog.apply(manifest(0, [LinksRecord(5, 1, (b"a", b"b")), LinksRecord(5, 2, (b"x",))]))
        catalog.apply(manifest(1, [LinksRecord(5, 1, (b"b", b"c\xff", b"d"))]))
        point = catalog.points()[-1]
        assert catalog.ledger(point) == {(5, 1): (b"b", b"c\xff", b"d"), (5, 2): (b"x",)}
        catalog.apply(manifest(2, [LinksRecord(5, 2, ())]))
        assert catalog.ledger(point) == {(5, 1): (b"b", b"c\xff", b"d")}


def test_chains_do_not_see_each_other(place):
    other = "d" * 16
    records = [ObjectRecord(1, 50, 7, b""), NameRecord(1, b"n", None), LinksRecord(5, 1, (b"a",)), content(1)]
    place.filled(manifest(0), manifest(0, records, chain=other))
    with place.open() as catalog:
        mine, theirs = (next(p for p in catalog.points() if p.chain == key) for key in (CHAIN, other))
        assert (catalog.ledger(mine), catalog.last_numbers(mine)) == ({}, (0, 0))
        with catalog.view(mine) as view, catalog.view(theirs) as foreign:
            assert (view.resolve(b"n"), foreign.resolve(b"n")) == (Node(None, b"n"), None)
            assert view.content_with_digest(content(1).digest, 5) is None


@pytest.mark.parametrize("sequence", [1, 3])
def test_a_missing_predecessor_is_a_chain_error(place, sequence):
    with place.open() as catalog:
        if sequence == 3:
            catalog.apply(manifest(0))
            catalog.apply(manifest(1))
        before = place.rows()
        with pytest.raises(ChainError, match=f"point {sequence} of chain {CHAIN} has no predecessor"):
            catalog.apply(manifest(sequence, [ObjectRecord(1, 50, 7, None)]))
        assert place.rows() == before


def test_a_manifest_that_breaks_off_leaves_nothing(place):
    def broken():
        yield from manifest(1, [ObjectRecord(number, number, 7, None) for number in range(1, 5001)])[:-1]
        raise RuntimeError("the disk is gone")

    place.filled(manifest(0))
    before = place.rows()
    with place.open() as catalog:
        with pytest.raises(RuntimeError, match="gone"):
            catalog.apply(broken())
        with pytest.raises(CatalogError, match=f"manifest of point {point_key(1)} has no end"):
            catalog.apply(manifest(1, [ObjectRecord(1, 1, 7, None)])[:-1])
        assert place.rows() == before
        catalog.apply(manifest(1))


def test_size_follows_changes_and_not_files(place):
    """Renaming a directory of the base costs two names and two objects, whatever lies in it."""
    place.filled(manifest(0))
    empty = place.rows()
    move = [ObjectRecord(1, 34, 1, b""), ObjectRecord(2, 99, 1, b"million"),
            VersionRecord(1, directory_entry(), None), NameRecord(1, b"million", None),
            NameRecord(1, b"moved", 2)]  # fmt: skip
    grown = place.filled(manifest(1, move)).rows()
    added = {name: grown[name] - empty[name] for name in grown if grown[name] != empty[name]}
    assert added == {"dirent": 2, "object": 2, "version": 1, "point": 1}
    with place.open() as catalog, catalog.view(catalog.points()[-1]) as view:
        assert view.resolve(b"moved/any/file") == Node(None, b"million/any/file")
        assert view.resolve(b"million/any/file") is None


def test_a_reader_sees_its_point_while_another_writes_the_next(place):
    place.filled(
        manifest(0, [ObjectRecord(1, 34, 1, b""), ObjectRecord(2, 35, 1, None), NameRecord(1, b"n", 2)])
    )
    failures, reads, stop = [], [], threading.Event()

    def read():
        try:
            with place.open() as catalog:
                point = catalog.points()[0]
                while not stop.is_set():
                    with catalog.view(point) as view:
                        reads.append(view.resolve(b"n") == Node(2, None) and view.names(view.root()))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with place.open() as catalog:
            for sequence in range(1, 30):
                catalog.apply(manifest(sequence, [NameRecord(1, b"n", None if sequence % 2 else 2)]))
    finally:
        stop.set()
        reader.join()
    assert failures == []
    assert reads
    assert all(found == {b"n": Node(2, None)} for found in reads)


def test_two_processes_taking_in_the_same_points_at_once(place):
    """`ls` on an empty catalog does what a run does beside it."""
    failures = []

    def start():
        try:
            place.filled(
                *(manifest(sequence, [ObjectRecord(sequence + 1, 1, 1, None)]) for sequence in range(20)),
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
            failures.append(error)

    starts = [threading.Thread(target=start) for _ in range(4)]
    for thread in starts:
        thread.start()
    for thread in starts:
        thread.join()
    assert failures == []
    assert (place.rows()["point"], place.rows()["object"]) == (20, 20)


RUN = UnfinishedRun("tank/data", CHAIN, 4, "tank/data@z", 2**64 - 1, 2**64 - 2)


def test_the_journal(place):
    pack, record = PackRecord("a" * 32, 100, "1" * 64), content(9)
    with place.open() as catalog:
        journal = catalog.journal
        assert journal.unfinished("tank/data") is None
        journal.begin(RUN)
        journal.begin(UnfinishedRun("other", CHAIN, 0, "other@z", 5, None))
        journal.packed("tank/data", pack, [((7, 2**63 - 1), record)])
        journal.base_done("other", "e" * 64)
    with place.open() as catalog:
        journal = catalog.journal
        assert journal.unfinished("tank/data") == RUN
        assert journal.unfinished("other") == UnfinishedRun("other", CHAIN, 0, "other@z", 5, None, "e" * 64)
        assert journal.done("tank/data") == ([pack], {(7, 2**63 - 1): record})
        assert journal.done("other") == ([], {})
        journal.begin(RUN)
        assert journal.done("tank/data") == ([], {})
        journal.clear("tank/data")
        assert (journal.unfinished("tank/data"), journal.unfinished("other") is None) == (None, False)
