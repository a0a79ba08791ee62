"""Validity intervals against a model: whatever happens to a tree, every point keeps showing its own."""

import sqlite3
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from builders import content, directory_entry, file_entry, manifest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from zdiffsync.catalog.catalog import Catalog
from zdiffsync.catalog.view import Node, Version
from zdiffsync.format.manifest import NameRecord, ObjectRecord, VersionRecord

NAMES = st.sampled_from([b"a", b"b", b"c", b"\xff", b"a b"])
ROOT = 0


@dataclass
class Object:
    """`base` is its path in the base; `names` what a directory holds; `version` None: still the base's."""

    directory: bool
    base: bytes | None = None
    names: dict = field(default_factory=dict)
    version: Version | None = None


def base_tree():
    """Two directories with files, one of them nested, and a file; objects by their ZFS number."""
    tree = {ROOT: Object(directory=True, base=b"")}
    for path in (b"a", b"a/b", b"a/b/a", b"b", b"b/a", b"b/b", b"c"):
        directory = path in {b"a", b"b", b"a/b"}
        number = len(tree)
        tree[number] = Object(directory, path)
        head, _, name = path.rpartition(b"/")
        parent = next(item for item in tree.values() if item.base == head)
        parent.names[name] = number
    return tree


def paths(tree, top=ROOT, prefix=b""):
    for name, number in tree[top].names.items():
        yield prefix + name, number
        yield from paths(tree, number, prefix + name + b"/")


class Intervals(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.folder = TemporaryDirectory()
        self.catalog = Catalog(Path(self.folder.name, "catalog.sqlite"))
        self.base = base_tree()
        self.tree = base_tree()
        self.states, self.manifests = [], []
        self.numbers = {}
        self.clock = 0
        self.seen = {path for path, _ in paths(self.base)} | {b"a/x/y", b"c/a"}
        self.commit()

    def directories(self):
        return sorted({ROOT} | {number for _, number in paths(self.tree) if self.tree[number].directory})

    @rule(data=st.data(), name=NAMES, directory=st.booleans())
    def create(self, data, name, directory):
        parent = self.tree[data.draw(st.sampled_from(self.directories()))]
        self.clock += 1
        number = len(self.tree)
        entry = directory_entry(self.clock) if directory else file_entry(self.clock)
        self.tree[number] = Object(directory, version=Version(entry, None if directory else self.clock))
        parent.names[name] = number

    @rule(data=st.data())
    @precondition(lambda self: any(True for _ in paths(self.tree)))
    def modify(self, data):
        _, number = data.draw(st.sampled_from(sorted(paths(self.tree))))
        self.clock += 1
        item = self.tree[number]
        entry = directory_entry(self.clock) if item.directory else file_entry(self.clock)
        item.version = Version(entry, None if item.directory else self.clock)

    @rule(data=st.data())
    @precondition(lambda self: any(True for _ in paths(self.tree)))
    def remove(self, data):
        path, _ = data.draw(st.sampled_from(sorted(paths(self.tree))))
        parent, name = self.holder(path)
        del parent.names[name]

    @rule(data=st.data(), name=NAMES, exchange=st.booleans())
    @precondition(lambda self: any(True for _ in paths(self.tree)))
    def rename(self, data, name, exchange):
        path, number = data.draw(st.sampled_from(sorted(paths(self.tree))))
        inside = {number} | {below for _, below in paths(self.tree, number)}
        target = self.tree[data.draw(st.sampled_from([d for d in self.directories() if d not in inside]))]
        parent, old = self.holder(path)
        there = target.names.get(name)
        if exchange and there is not None and number not in {there} | {n for _, n in paths(self.tree, there)}:
            parent.names[old], target.names[name] = there, number
        elif there is None or number not in {n for _, n in paths(self.tree, there)}:
            del parent.names[old]
            target.names[name] = number

    @rule(data=st.data(), name=NAMES)
    def link(self, data, name):
        files = sorted({number for _, number in paths(self.tree) if not self.tree[number].directory})
        if files:
            parent = self.tree[data.draw(st.sampled_from(self.directories()))]
            parent.names[name] = data.draw(st.sampled_from(files))

    def holder(self, path):
        *heads, name = path.split(b"/")
        item = self.tree[ROOT]
        for head in heads:
            item = self.tree[item.names[head]]
        return item, name

    @rule()
    def commit(self):
        before = self.states[-1] if self.states else self.base
        records = []

        def number(key):
            if key not in self.numbers:
                self.numbers[key] = len(self.numbers) + 1
                records.append(ObjectRecord(self.numbers[key], 1000 + key, 7, self.tree[key].base))
            return self.numbers[key]

        reachable = {ROOT} | {key for _, key in paths(self.tree)}
        for key in sorted(reachable):
            item, was = self.tree[key], before.get(key, Object(directory=True))
            if item.version is not None and item.version != was.version:
                if item.version.content is not None:
                    records.append(content(item.version.content))
                records.append(VersionRecord(number(key), item.version.entry, item.version.content))
            for name in sorted(item.names.keys() | was.names.keys()):
                now = item.names.get(name)
                if now != was.names.get(name):
                    child = None if now is None else number(now)
                    records.append(NameRecord(number(key), name, child))
        records.sort(key=lambda record: not isinstance(record, ObjectRecord))
        sequence = len(self.states)
        self.manifests.append(manifest(sequence, records))
        self.catalog.apply(self.manifests[-1])
        self.states.append(deepcopy(self.tree))
        self.seen |= {path for path, _ in paths(self.tree)}
        self.check_points(self.catalog.points()[-2:])

    def check_points(self, points):
        for point in points:
            with self.catalog.view(point) as view:
                self.check(view, self.states[point.sequence])

    def check(self, view, tree):
        there = {b"": ROOT, **dict(paths(tree))}
        for path, key in there.items():
            node = view.resolve(path)
            item = tree[key]
            assert node == Node(self.numbers.get(key), item.base)
            version = None if node.object is None else view.version(node.object)
            assert version == item.version
            if node.object is not None:
                assert view.number_of(1000 + key, 7) == node.object
            if item.directory:
                assert self.children(view, node) == {
                    name: Node(self.numbers.get(child), tree[child].base)
                    for name, child in item.names.items()
                }
        self.check_many(view, there, tree)
        in_base = {item.base for item in self.base.values()}
        for path in self.seen - there.keys():
            node = view.resolve(path)
            assert node is None or (view.version(node.object) if node.object else None) is None
            assert node is None or node.base_path not in in_base

    def check_many(self, view, there, tree):
        """What is asked for many objects at once is what is said of each."""
        keys = {key for key in there.values() if key in self.numbers}
        numbers = {key: self.numbers[key] for key in keys}
        assert view.zfs_objects(numbers.values()) == {number: 1000 + key for key, number in numbers.items()}
        versions = {numbers[key]: tree[key].version for key in keys if tree[key].version is not None}
        assert view.versions(numbers.values()) == versions
        known = {tree[key].base: number for key, number in numbers.items() if tree[key].base is not None}
        asked = [tree[key].base for key in there.values() if tree[key].base is not None]
        assert view.overlaid(asked) == known
        counts = view.link_counts(numbers.values())
        for key in set(there.values()):
            places = sorted(path for path, other in there.items() if other == key)
            node = view.resolve(places[0])
            assert view.paths(node) == places
            if node.object is not None and node.base_path is None and not tree[key].directory:
                assert counts[node.object] >= len(places)

    def children(self, view, node):
        """What whoever lists a directory does: the base's names under the overlay's."""
        names = view.names(node)
        base = next((item for item in self.base.values() if item.base == node.base_path), None)
        for name in base.names if base and node.base_path is not None else ():
            if name not in names:
                names[name] = view.child(node, name)
        return {name: child for name, child in names.items() if child is not None}

    def teardown(self):
        self.commit()
        self.check_points(self.catalog.points())
        with self.catalog, Catalog(Path(self.folder.name, "again.sqlite")) as again:
            before = dump(self.folder.name, "catalog.sqlite")
            for items in self.manifests:
                self.catalog.apply(items)
                again.apply(items)
                again.apply(items)
            assert dump(self.folder.name, "catalog.sqlite") == before
            assert dump(self.folder.name, "again.sqlite") == before
        self.folder.cleanup()


def dump(folder, name):
    connection = sqlite3.connect(Path(folder, name))
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


TestIntervals = Intervals.TestCase
TestIntervals.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
