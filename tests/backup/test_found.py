"""What reconcile holds: paths by object, and where objects are."""

from zdiffsync.backup.changes import ObjectChange
from zdiffsync.backup.found import Found, Objects, Paths, Places
from zdiffsync.external.tree import Identity

FILE, MOVED, NEW, DIRECTORY = (Identity(number, 1 << 31) for number in range(1, 5))


def paths(**named):
    made = Paths()
    for name, identity in named.items():
        made.add(identity, name.encode())
    return made


def test_an_identity_is_its_number_and_its_generation():
    identity = Identity((1 << 64) - 1, 7)
    assert (identity.number, identity.generation) == ((1 << 64) - 1, 7)
    assert identity == Identity((1 << 64) - 1, 7)
    assert len({identity, Identity((1 << 64) - 1, 8), Identity(0, 7)}) == 3


def test_an_object_has_the_paths_it_was_found_under_each_once():
    found = paths(b=FILE, other=NEW)
    found.add(FILE, b"b")
    assert list(found[FILE]) == [b"b"]
    found.add(FILE, b"a")
    found.add(FILE, b"b")
    assert sorted(found[FILE]) == [b"a", b"b"]
    assert found.first(FILE) == b"a"
    assert (list(found), len(found)) == ([FILE, NEW], 2)
    assert dict(found.items())[NEW] == (b"other",)


def test_an_unknown_object_has_no_path():
    found = paths()
    assert (tuple(found[FILE]), found.first(FILE), FILE in found) == ((), None, False)


def test_new_is_what_is_in_the_new_tree_only():
    found = Found(paths(file=FILE, old=MOVED), paths(file=FILE, new=MOVED, fresh=NEW), {})
    assert [identity in found for identity in (FILE, MOVED, NEW, DIRECTORY)] == [False, False, True, False]
    places = Places(found, {DIRECTORY: (b"d", b"e")})
    assert dict(places) == {
        FILE: (b"file", b"file"), MOVED: (b"old", b"new"), NEW: (None, b"fresh"), DIRECTORY: (b"d", b"e"),
    }  # fmt: skip
    assert places.get(Identity(9, 9)) is None


def test_a_directory_is_where_it_was_found_last():
    found = Found(paths(name=DIRECTORY), paths(name=DIRECTORY), {DIRECTORY: b"elsewhere"})
    assert found.old_place(DIRECTORY) == b"elsewhere"


def test_changed_objects_can_be_gone_through_again():
    new = paths(b=FILE, c=NEW)
    new.add(FILE, b"a")
    objects = Objects(new, lambda identity, names: ObjectChange(identity, None, names))
    expected = [ObjectChange(FILE, None, (b"a", b"b")), ObjectChange(NEW, None, (b"c",))]
    assert list(objects) == list(objects) == expected
    assert len(objects) == 2
    assert expected[1] in objects
