"""A small past: trees that change at random, their points in a real catalog, their bases in memory.

What a run would write is written from the model's own difference of two trees, sharing no code with
what is tested. `World.states` holds what every point must show.
"""

import hashlib
from copy import deepcopy
from dataclasses import dataclass, field, replace

from zdiffsync.bases.nodes import BaseNode
from zdiffsync.format.manifest import (
    IN_BASE,
    ContentRecord,
    Header,
    NameRecord,
    ObjectRecord,
    Summary,
    VersionRecord,
)
from zdiffsync.format.windows import BlobRef
from zdiffsync.model.entry import Entry, EntryType

ROOT = (34, 1)
DATASET = "tank/data"
PACK = "a" * 32


@dataclass
class Object:
    """A file (`names` None) or a directory; `text` is what a file holds."""

    entry: Entry
    text: bytes = b""
    names: dict | None = None


@dataclass(frozen=True)
class Seen:
    """What stands at a path of a point."""

    identity: tuple[int, int]
    entry: Entry
    text: bytes


class MemoryBases:
    """Bases that were never stored anywhere. Equal directories have one id, as restic's have."""

    def __init__(self):
        self.roots, self.trees, self.asked = {}, {}, 0

    def store(self, snapshot, objects):
        links = {}
        for each in objects.values():
            for child in (each.names or {}).values():
                links[child] = links.get(child, 0) + 1
        self.roots[snapshot] = self._tree(objects, ROOT, links)

    def _tree(self, objects, key, links):
        nodes = {}
        for name, child in sorted(objects[key].names.items()):
            item = objects[child]
            subtree = "" if item.names is None else self._tree(objects, child, links)
            chunks = hashlib.sha256(item.text).digest() if item.text else b""
            count = 0 if item.names is not None else links[child]
            nodes[name] = BaseNode(name, item.entry, child[0], count, subtree, chunks)
        identifier = hashlib.sha256(repr(list(nodes.values())).encode()).hexdigest()
        self.trees[identifier] = nodes
        return identifier

    def root(self, snapshot):
        return self.roots[snapshot]

    def tree(self, identifier):
        self.asked += 1
        return self.trees[identifier]

    def directory(self, snapshot, path):
        tree = self.trees[self.roots[snapshot]]
        for name in path.split(b"/") if path else ():
            if name not in tree or not tree[name].subtree:
                return None
            tree = self.trees[tree[name].subtree]
        return tree

    def node(self, snapshot, path):
        if not path:
            nothing = Entry(EntryType.DIRECTORY, 0, 0, 0, 0)
            return BaseNode(b"", nothing, 0, 0, self.roots[snapshot])
        head, _, name = path.rpartition(b"/")
        return (self.directory(snapshot, head) or {}).get(name)


@dataclass
class Chain:
    """What the writer knows of the chain under way."""

    key: str
    sequence: int = 0
    numbers: dict = field(default_factory=dict)
    base_paths: dict = field(default_factory=dict)
    base_texts: dict = field(default_factory=dict)
    contents: int = 0
    by_text: dict = field(default_factory=dict)


class World:
    """One dataset, changed by `rng`, with all its points in `catalog`."""

    def __init__(self, catalog, rng):
        self.catalog, self.rng = catalog, rng
        self.bases = MemoryBases()
        self.clock = 1
        self.objects = {ROOT: Object(self._entry(EntryType.DIRECTORY), names={})}
        self.free, self.last_inode, self.last_generation = [], 100, 1
        self.before, self.chain, self.chains = {}, None, 0
        self.states = []
        self.chain_of = []

    # What happens to the tree.

    def _entry(self, kind, size=0, **more):
        self.clock += 1
        return Entry(kind, 0o755, 0, 0, self.clock * 10**9, size, **more)

    def _new(self):
        """Give out an identity; numbers of what is gone come back with another generation."""
        self.last_generation += 1
        if self.free and self.rng.random() < 0.5:
            return self.free.pop(self.rng.randrange(len(self.free))), self.last_generation
        self.last_inode += 1
        return self.last_inode, self.last_generation

    def directories(self, top=ROOT):
        found = [top]
        for child in self.objects[top].names.values():
            if self.objects[child].names is not None:
                found += self.directories(child)
        return found

    def places(self):
        return [
            (parent, name) for parent in self.directories() for name in sorted(self.objects[parent].names)
        ]

    def _name(self):
        return self.rng.choice([b"a", b"b", b"c.txt", b"D", b"e\xff", b"f"])

    def _text(self):
        return b"%d" % self.rng.randrange(4) * self.rng.randrange(3)

    def create(self, parent, name, directory):
        key = self._new()
        if directory:
            self.objects[key] = Object(self._entry(EntryType.DIRECTORY), names={})
        else:
            text = self._text()
            self.objects[key] = Object(self._entry(EntryType.FILE, len(text)), text)
        self.objects[parent].names[name] = key
        self.touch(parent)

    def touch(self, key):
        self.clock += 1
        item = self.objects[key]
        item.entry = replace(item.entry, mtime_ns=self.clock * 10**9)

    def write(self, key, text):
        item = self.objects[key]
        item.text, item.entry = text, replace(item.entry, size=len(text))
        self.touch(key)

    def change(self):
        """Do one thing."""
        rng, places = self.rng, self.places()
        parent = rng.choice(self.directories())
        what = rng.choice(
            ["create", "create", "write", "mode", "remove", "rename", "rename", "link", "replace"]
        )
        if what == "create" or not places:
            name = self._name()
            if name not in self.objects[parent].names:
                self.create(parent, name, directory=rng.random() < 0.4)
            return
        holder, name = rng.choice(places)
        key = self.objects[holder].names[name]
        item = self.objects[key]
        if what == "write" and item.names is None:
            self.write(key, self._text())
        elif what == "mode":
            item.entry = replace(item.entry, mode=rng.choice([0o600, 0o644, 0o755]))
        elif what == "remove":
            del self.objects[holder].names[name]
            self.touch(holder)
        elif what == "replace" and item.names is None:
            self.create(holder, name, directory=rng.random() < 0.2)
        elif what == "link" and item.names is None:
            self.objects[parent].names.setdefault(self._name(), key)
            self.touch(parent)
        elif what == "rename" and (item.names is None or parent not in self.directories(key)):
            new = self._name()
            there = self.objects[parent].names.get(new)
            if there is None or there != key:
                del self.objects[holder].names[name]
                self.objects[parent].names[new] = key
                self.touch(holder)
                self.touch(parent)
        self._sweep()

    def _sweep(self):
        alive = set(self.directories())
        alive |= {key for each in alive for key in self.objects[each].names.values()}
        for key in [key for key in self.objects if key not in alive]:
            del self.objects[key]
            self.free.append(key[0])

    # Points.

    def paths(self, objects=None, top=ROOT, prefix=b""):
        objects = objects or self.objects
        for name, key in objects[top].names.items():
            yield prefix + name, key
            if objects[key].names is not None:
                yield from self.paths(objects, key, prefix + name + b"/")

    def commit(self, *, base=False):
        """Make a point."""
        if base or self.chain is None:
            self._begin()
        else:
            self.chain.sequence += 1
            self._increment()
        self.before = deepcopy(self.objects)
        self.states.append(
            {b"": Seen(ROOT, self.objects[ROOT].entry, b"")}
            | {path: Seen(key, self.objects[key].entry, self.objects[key].text) for path, key in self.paths()}
        )
        self.chain_of.append(self.chains)

    def _begin(self):
        self.chains += 1
        self.chain = Chain(f"{self.chains:016x}")
        self.bases.store(self.chain.key, self.objects)
        for path, key in sorted(self.paths(), reverse=True):
            self.chain.base_paths[key] = path
            self.chain.base_texts[key] = self.objects[key].text
        self.chain.base_paths[ROOT] = b""
        records = []
        self._number(ROOT, records)
        records.append(VersionRecord(1, self.objects[ROOT].entry, None))
        self._apply(records)

    def _increment(self):
        records = []
        for key, item in self.objects.items():
            was = self.before.get(key)
            if was is None or (was.entry, was.text) != (item.entry, item.text):
                number = self._number(key, records)
                records.append(VersionRecord(number, item.entry, self._content(key, item, was, records)))
            names = item.names or {}
            old = (was.names if was else None) or {}
            for name in names.keys() | old.keys():
                if names.get(name) != old.get(name):
                    child = self._number(names[name], records) if name in names else None
                    records.append(NameRecord(self._number(key, records), name, child))
        rank = (ObjectRecord, ContentRecord, VersionRecord, NameRecord)
        unique = list(dict.fromkeys(records))
        self._apply(sorted(unique, key=lambda record: rank.index(type(record))))

    def _number(self, key, records):
        chain = self.chain
        if key not in chain.numbers:
            chain.numbers[key] = len(chain.numbers) + 1
            base = chain.base_paths.get(key)
            records.append(ObjectRecord(chain.numbers[key], *key, base))
            others = [path for path, each in self.paths() if each == key and path != base]
            if base is not None and self.objects[key].names is None:  # several names become one object
                there = dict(self.paths()) | {b"": ROOT}
                records += [
                    NameRecord(self._number(there[head], records), name, chain.numbers[key])
                    for head, _, name in (path.rpartition(b"/") for path in others)
                ]
        return chain.numbers[key]

    def _content(self, key, item, was, records):
        chain = self.chain
        if item.names is not None or not item.text:
            return None
        unchanged = was is not None and was.text == item.text and (key, item.text) not in chain.by_text
        if unchanged and chain.base_texts.get(key) == item.text:
            return IN_BASE
        if (key, item.text) not in chain.by_text:
            chain.contents += 1
            digest = hashlib.sha256(item.text).hexdigest()
            blob = BlobRef(PACK, 8 * chain.contents, 8)
            windowed = len(item.text) > 1
            records.append(
                ContentRecord(
                    chain.contents, len(item.text), digest if not windowed else f"{chain.contents:064x}",
                    windowed, blob, {PACK: 8},
                )
            )  # fmt: skip
            chain.by_text[key, item.text] = chain.contents
        return chain.by_text[key, item.text]

    def _apply(self, records):
        number = len(self.states)
        header = Header(
            repository="r" * 32, chain=self.chain.key, first=self.chain.sequence,
            sequence=self.chain.sequence, point=f"{number:04x}{self.chain.key[4:]}",
            dataset=DATASET, dataset_guid=7, host="host",
            snapshot=f"{DATASET}@z{number}", guid=number + 1, createtxg=number + 1,
            created_ns=(1_700_000_000 + number) * 10**9, parent_guid=number or None,
            restic=self.chain.key, base_ns=1, excludes="",
        )  # fmt: skip
        self.catalog.apply([header, *records, Summary({})])
