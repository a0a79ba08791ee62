"""A restic repository, damaged inside its encryption: right bytes or one of our errors."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from mutations import damaged_json, fuzz, mutated, refused
from restic_forms import CONTENT, MASTER, TREE, Repository, index_of, key_file, seal
from zdiffsync.bases.bases import Bases
from zdiffsync.bases.index import make_table
from zdiffsync.bases.keys import Key, unlock
from zdiffsync.bases.nodes import decode_tree
from zdiffsync.external.restic_node import parse_tree
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
