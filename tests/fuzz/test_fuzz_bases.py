"""A restic repository, damaged inside its encryption: right bytes or one of our errors."""

import base64
import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from mutations import damaged_json, fuzz, mutated, refused
from restic_forms import MASTER, TREE, index_of, key_file, seal
from zdiffsync.bases.bases import Bases
from zdiffsync.bases.index import make_table
from zdiffsync.bases.keys import Key, unlock
from zdiffsync.bases.nodes import decode_tree
from zdiffsync.errors import IntegrityError, ObjectMissingError
from zdiffsync.external.restic_node import parse_tree
from zdiffsync.format.zstd import compress
from zdiffsync.model.entry import EntryType
from zdiffsync.store.object_cache import ObjectCache
from zdiffsync.store.secret import Secret

SECRET = Secret(b"secret")
INDEX = index_of({b"p" * 32: [(b"a" * 32, 0, 50, 90), (b"b" * 32, 50, 60, 0)]})
KEY = json.loads(key_file())
FRAME = seal(MASTER, b"some content" * 20)


def nodes_of(data):
    for name, node in decode_tree(data).items():
        assert name == node.name
        assert name not in {b"", b".", b".."}
        assert b"/" not in name
        assert b"\0" not in name
        assert len(node.content) % 32 == 0
        assert len(node.subtree) in {0, 64}
        assert node.entry.size >= 0


@fuzz("restic tree")
@given(mutated(TREE))
def test_a_tree_of_wrong_bytes_is_a_tree_or_refused(data):
    refused(parse_tree, data)
    return refused(nodes_of, data)


@fuzz("restic tree, its values", 300)
@given(damaged_json(json.loads(TREE)))
def test_a_tree_of_wrong_values_is_a_tree_or_refused(value):
    data = json.dumps(value).encode()
    refused(parse_tree, data)
    return refused(nodes_of, data)


@fuzz("restic index")
@given(
    st.one_of(mutated(INDEX), damaged_json(json.loads(INDEX)).map(lambda value: json.dumps(value).encode()))
)
def test_an_index_is_a_table_or_refused(data):
    return refused(make_table, data)


@fuzz("restic key")
@given(st.one_of(mutated(key_file()), damaged_json(KEY).map(lambda value: json.dumps(value).encode())))
def test_a_key_file_opens_or_does_not_or_is_refused(data):
    return refused(unlock, data, SECRET)


@fuzz("restic frame")
@given(mutated(FRAME))
def test_a_frame_opens_to_what_was_sealed_or_is_refused(frame):
    def check():
        assert Key(*MASTER).open(frame) == b"some content" * 20 or frame != FRAME

    return refused(check)


CONTENT = b"a file of the base, " * 40, bytes(5000)
KEY_FILE = key_file()
MASTER_KEY = (
    base64.b64decode("C" * 43 + "="),
    base64.b64decode("A" * 22 + "=="),
    base64.b64decode("B" * 22 + "=="),
)
INNER = {"name": "f", "type": "file", "mode": 0o644, "mtime": "2026-11-24T05:08:56Z", "uid": 1, "gid": 2,
         "inode": 7, "size": sum(map(len, CONTENT)), "links": 1,
         "content": [hashlib.sha256(each).hexdigest() for each in CONTENT]}  # fmt: skip
OUTER = {"name": "d", "type": "dir", "mode": 1 << 31 | 0o755, "mtime": "2026-11-24T05:08:56Z", "uid": 0,
         "gid": 0, "inode": 8}  # fmt: skip


class Repository:
    """A repository in memory as restic would have made it; `change` may give another value to each part.

    It is an Area to those who read it.
    """

    def __init__(self, change=lambda _part, value: value):
        self.files = {}
        inner = change("tree", json.dumps({"nodes": [INNER]}).encode())
        subtree = {"subtree": hashlib.sha256(inner).hexdigest()}
        outer = change("root", json.dumps({"nodes": [OUTER | subtree]}).encode())
        pack, places = b"", []
        for data in (*CONTENT, inner, outer):
            sealed = seal(MASTER_KEY, change("blob", compress(data)))
            places.append((hashlib.sha256(data).digest(), len(pack), len(sealed), len(data)))
            pack += sealed
        name = hashlib.sha256(pack).digest()
        self.files[f"restic/data/{name.hex()[:2]}/{name.hex()}"] = pack
        self._stored("index", change("index", index_of({name: places})))
        root = json.dumps({"tree": hashlib.sha256(outer).hexdigest()}).encode()
        self.snapshot = self._stored("snapshots", change("snapshot", root))
        self.files["restic/config"] = seal(MASTER_KEY, change("config", b'{"version":2}'))
        self.files["restic/keys/" + "0" * 64] = change("key", KEY_FILE)

    def _stored(self, folder, data):
        frame = seal(MASTER_KEY, b"\x02" + compress(data))
        name = hashlib.sha256(frame).hexdigest()
        self.files[f"restic/{folder}/{name}"] = frame
        return name

    def sizes(self, prefix):
        return {name: len(data) for name, data in self.files.items() if name.startswith(prefix + "/")}

    def read_all(self, name, most):
        if name not in self.files:
            raise ObjectMissingError(f"{name} is not there")
        assert len(self.files[name]) <= most
        return self.files[name]

    def read_up_to(self, name, offset, length):
        return self.read_all(name, 1 << 30)[offset : offset + length]

    def read(self, name, offset, length):
        data = self.read_up_to(name, offset, length)
        if len(data) != length:
            raise IntegrityError(f"{name} is truncated")
        return data


def read_all_of(repository):
    """Return what the file holds, None when there is no such file."""
    with TemporaryDirectory() as folder:
        cache = ObjectCache(Path(folder, "objects"), 1 << 20)
        bases = Bases(repository, SECRET, Path(folder, "bases"), cache)
        node = bases.node(repository.snapshot, b"d/f")
        if node is None or node.entry.type is not EntryType.FILE:
            return None
        file = bases.file(node)
        assert sum(chunk.length for chunk in file.chunks) >= 0
        return file.read(0, min(file.size, 1 << 20))


def test_the_repository_in_memory_is_one():
    assert read_all_of(Repository()) == b"".join(CONTENT)


@fuzz("restic repository", 100)
@given(st.sampled_from(["tree", "root", "blob", "index", "snapshot", "config", "key"]), st.data())
def test_a_file_of_a_damaged_repository_is_right_or_refused(part, data):
    def change(name, value):
        if name != part:
            return value
        if name == "blob":
            return data.draw(st.one_of(st.just(value), mutated(value)))
        wrong = damaged_json(json.loads(value)).map(lambda found: json.dumps(found).encode())
        return data.draw(st.one_of(mutated(value), wrong))

    repository = Repository(change)

    def read():
        found = read_all_of(repository)
        if part in {"blob", "index", "config", "key"}:  # what is named is what its digest says
            assert found == b"".join(CONTENT)

    return refused(read)
