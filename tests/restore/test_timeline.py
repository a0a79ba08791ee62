"""History, search and comparison of all points against a model that remembers every tree."""

import os
import random

import pytest
from past_world import DATASET, World

from zdiffsync.catalog.catalog import Catalog
from zdiffsync.model.entry import EntryType
from zdiffsync.restore.difference import Comparison, Kind, Side
from zdiffsync.restore.history import Departure, FileVersion, TimeLine
from zdiffsync.restore.search import Query, named, search
from zdiffsync.restore.spans import SpanTree
from zdiffsync.restore.walk import Walk

EXAMPLES = int(os.environ.get("ZDIFFSYNC_EXAMPLES", "12"))
FIRST = 0 if "ZDIFFSYNC_EXAMPLES" not in os.environ else random.randrange(10**9)
POINTS = 9


@pytest.fixture(params=range(FIRST, FIRST + EXAMPLES))
def world(request, tmp_path):
    rng = random.Random(request.param)
    with Catalog(tmp_path / "catalog.sqlite") as catalog:
        world = World(catalog, rng)
        for number in range(POINTS):
            for _ in range(rng.randrange(1, 25 if number == 0 else 9)):
                world.change()
            world.commit(base=rng.random() < 0.25)
        yield world


def all_paths(world):
    return sorted({path for state in world.states for path in state} | {b"never", b"a/never", b"a/b/c/d"})


def runs(world, path):
    """What stood at a path: (first point, last point, what), cut wherever anything differs."""
    found = []
    for number, state in enumerate(world.states):
        seen = state.get(path)
        if seen is None:
            continue
        if found and found[-1][1] == number - 1 and found[-1][2] == seen:
            found[-1] = (found[-1][0], number, seen)
        else:
            found.append((number, number, seen))
    return found


def test_versions_of_every_path(world):
    line = TimeLine(world.catalog, world.bases, DATASET)
    points = world.catalog.points()
    for path in all_paths(world):
        told = [(v.points, v.entry, v.path, v.found.inode) for v in line.versions(path)]
        assert told == [
            (tuple(points[first : last + 1]), seen.entry, path, seen.identity[0])
            for first, last, seen in runs(world, path)
        ], path


def test_what_changed_from_version_to_version(world):
    line = TimeLine(world.catalog, world.bases, DATASET)
    for path in all_paths(world):
        expected = runs(world, path)
        told = line.versions(path)
        assert len(told) == len(expected)
        for number, (version, (first, _, seen)) in enumerate(zip(told, expected, strict=True)):
            if number == 0:
                assert version.changes[0] in ({"first"} if first == 0 else {"created", "renamed", "linked"})
                continue
            _, ended, before = expected[number - 1]
            if ended < first - 1:
                assert version.changes[0] in {"back", "renamed", "linked"}
            old, new = before.entry, seen.entry
            assert ("type" in version.changes) == (old.type is not new.type)
            if old.type is new.type:
                assert ("mode" in version.changes) == (old.mode != new.mode)
                if old.type is EntryType.FILE and "content?" not in version.changes:
                    assert ("content" in version.changes) == (before.text != seen.text)


def names_of(state, identity):
    return {path for path, seen in state.items() if seen.identity == identity}


def test_history_follows_renames(world):
    line = TimeLine(world.catalog, world.bases, DATASET)
    points = {point.key: number for number, point in enumerate(world.catalog.points())}
    for path in all_paths(world):
        story = line.history(path)
        begun = [each.points[0] if isinstance(each, FileVersion) else each.point for each in story]
        times = [points[point.key] for point in begun]
        assert times == sorted(times)
        for each in story:
            if isinstance(each, Departure):
                check_departure(world, each, points[each.point.key])
            else:
                check_version(world, each, [points[point.key] for point in each.points])
        stays = [each for each in story if isinstance(each, FileVersion) and each.path == path]
        assert {points[point.key] for each in stays for point in each.points} == {
            number for number, state in enumerate(world.states) if path in state
        }


def linked_in_base(world, number, identity):
    """Whether an object had several names when the chain of a point began: only some of them are known."""
    return len(names_of(world.states[world.chain_of.index(world.chain_of[number])], identity)) > 1


def check_departure(world, item, number):
    was, now = world.states[number - 1][item.path], world.states[number].get(item.path)
    assert now is None or now.identity != was.identity
    same_chain = world.chain_of[number] == world.chain_of[number - 1]
    arrived = names_of(world.states[number], was.identity) - names_of(world.states[number - 1], was.identity)
    if item.target is not None:
        assert item.target in arrived
    elif same_chain and not linked_in_base(world, number, was.identity):
        assert not arrived


def check_version(world, item, numbers):
    for number in numbers:
        assert world.states[number][item.path].entry == item.entry
    first = numbers[0]
    identity = world.states[first][item.path].identity
    if item.origin is not None and not linked_in_base(world, first, identity):
        before = world.states[first - 1][item.origin].identity
        known = world.chain_of[first] == world.chain_of[first - 1]
        assert before == identity if known else before[0] == identity[0]  # a number may be given out again
        gone = world.states[first].get(item.origin)
        assert ("renamed" in item.changes) == (gone is None or gone.identity != identity)
        return
    before = {} if first == 0 else world.states[first - 1]
    if first and world.chain_of[first] == world.chain_of[first - 1]:
        began = item.path not in before or before[item.path].identity != identity
        if began and item.origin is None and not linked_in_base(world, first, identity):
            assert not names_of(before, identity), "it had another name before"


def test_the_former_names_of_a_file_are_followed_through_chains(tmp_path):
    with Catalog(tmp_path / "catalog.sqlite") as catalog:
        world = World(catalog, random.Random(1))
        root = world.objects[next(iter(world.objects))]
        world.create((34, 1), b"first", directory=False)
        key = root.names[b"first"]
        world.write(key, b"1")
        world.commit()
        world.write(key, b"22")
        world.commit()
        root.names[b"second"] = root.names.pop(b"first")
        world.commit()
        world.commit(base=True)
        world.write(key, b"333")
        world.commit()
        root.names[b"third"] = root.names.pop(b"second")
        world.commit()
        del root.names[b"third"]
        world.commit()
        story = TimeLine(catalog, world.bases, DATASET).history(b"third")
        assert [
            (each.path, each.entry.size, each.changes, each.origin)
            if isinstance(each, FileVersion) else (each.path, each.target)
            for each in story
        ] == [
            (b"first", 1, ("first",), None),
            (b"first", 2, ("content",), None),
            (b"second", 2, ("renamed",), b"first"),
            (b"second", 3, ("content",), None),
            (b"third", 3, ("renamed",), b"second"),
            (b"third", None),
        ]  # fmt: skip


def test_names_ever(world):
    line = TimeLine(world.catalog, world.bases, DATASET)
    for path in all_paths(world):
        expected = {}
        prefix = path + b"/" if path else b""
        for state in world.states:
            for below, seen in state.items():
                if below and below.startswith(prefix) and b"/" not in below[len(prefix) :]:
                    expected.setdefault(below[len(prefix) :], set()).add(seen.entry.type)
        assert line.names(path) == expected, path


QUERIES = [
    Query(),
    Query(name=named("a", ignore_case=False)),
    Query(name=named("d", ignore_case=True)),
    Query(name=named("a/*", ignore_case=False)),
    Query(name=named("*.txt", ignore_case=False), types=frozenset({EntryType.FILE})),
    Query(types=frozenset({EntryType.DIRECTORY})),
    Query(smallest=1, largest=1),
]


@pytest.mark.parametrize("number", range(len(QUERIES)))
def test_search(world, number):
    query = QUERIES[number]
    with world.catalog.rows() as rows:
        tree = SpanTree(rows, world.bases, world.catalog.points())
        found = {
            match.path: (match.entry, held(match.runs), match.versions)
            for match in search(tree, tree.root(), b"", query)
        }
    expected = {}
    for path in all_paths(world):
        if path and (query.name is None or query.name(path)):
            fitting = [run for run in runs(world, path) if query.fits(run[2].entry)]
            if fitting:
                points = [number for first, last, _ in fitting for number in range(first, last + 1)]
                expected[path] = (fitting[-1][2].entry, points, len(fitting))
    assert found == expected


def held(spans):
    return [number for first, last in spans for number in range(first, last + 1)]


def compare(world, one, other, path=b""):
    points = world.catalog.points()
    old, new = points[one], points[other]
    with (
        world.catalog.view(old) as before,
        world.catalog.view(new) as after,
        world.catalog.rows() as rows,
    ):
        sides = (
            Side(old, Walk(before, world.bases, old), rows(old.chain_id)),
            Side(new, Walk(after, world.bases, new), rows(new.chain_id)),
        )
        return Comparison(*sides).differences(path)


def test_differences_of_any_two_points(world):
    for one in range(POINTS):
        for other in range(POINTS):
            check_differences(world, one, other)


def check_differences(world, one, other):
    old, new = world.states[one], world.states[other]
    found = compare(world, one, other)
    same_chain = world.chain_of[one] == world.chain_of[other]
    by_path = {item.path: item for item in found if item.kind is not Kind.REMOVED}
    moved = {item.old.path: item.new.path for item in found if item.kind is Kind.RENAMED}
    for path in old.keys() & new.keys():
        item = by_path.pop(path, None)
        expected = kinds(old[path], new[path], same_chain)
        assert (item.kind if item else None) in expected, (path, item, old[path], new[path])
    gone, came = old.keys() - new.keys(), new.keys() - old.keys()
    for source, target in moved.items():
        assert source in gone
        assert target in came
        assert old[source].identity[0] == new[target].identity[0]
        assert not same_chain or old[source].identity == new[target].identity
    removed = {item.path for item in found if item.kind is Kind.REMOVED}
    added = {item.path for item in found if item.kind is Kind.ADDED}
    silent_old, silent_new = gone - removed - moved.keys(), came - added - set(moved.values())
    assert removed <= gone
    assert added <= came
    # What is not told came along with a renamed directory.
    carried = {carry(path, moved): path for path in silent_old}
    assert set(carried) == silent_new
    for target, source in carried.items():
        assert old[source].identity[0] == new[target].identity[0]
        item = by_path.pop(target, None)
        assert (item.kind if item else None) in kinds(old[source], new[target], same_chain)
    assert by_path.keys() <= added | set(moved.values())
    if same_chain:
        lost = {old[path].identity for path in removed}
        assert not lost & {new[path].identity for path in added}, "a rename was not recognised"


def carry(path, moved):
    above, _, name = path.rpartition(b"/")
    assert above, "nothing above it was renamed"
    return (moved[above] if above in moved else carry(above, moved)) + b"/" + name


def kinds(old, new, same_chain):
    """Return the kinds that are right; more than one where digests do not tell."""
    if old.entry.type is not new.entry.type:
        return {Kind.TYPE}
    if old.entry.type is EntryType.DIRECTORY:
        return {None if old.entry.mode == new.entry.mode else Kind.METADATA}
    plain = Kind.METADATA if old.entry != new.entry else None
    if old.text != new.text:
        return {Kind.CONTENT} | ({Kind.UNKNOWN} if len(old.text) == len(new.text) > 1 else set())
    if len(old.text) > 1:  # stored in parts
        one_file = same_chain and plain and old.identity == new.identity
        return {plain, Kind.CONTENT if one_file else Kind.UNKNOWN}
    return {plain}


def test_below_a_path_only(world):
    for path in sorted(world.states[0].keys() & world.states[-1].keys()):
        whole = {(item.kind, item.path) for item in compare(world, 0, POINTS - 1)}
        part = {(item.kind, item.path) for item in compare(world, 0, POINTS - 1, path)}
        inside = {(kind, at) for kind, at in whole if at == path or at.startswith(path + b"/") or not path}
        renamed = {at for kind, at in whole if kind is Kind.RENAMED}
        assert {each for each in inside if each[1] not in renamed and each[0] is not Kind.ADDED} <= {
            *part, *((Kind.REMOVED, at) for kind, at in inside if kind is Kind.REMOVED)
        }  # fmt: skip
