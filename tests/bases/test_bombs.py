"""Bases whose objects say they are small and are not: refused before they have filled the memory."""

import json
import tracemalloc
from contextlib import contextmanager

import pytest

from restic_forms import CONTENT, Repository, key_file
from zdiffsync.bases import objects
from zdiffsync.bases.bases import Bases
from zdiffsync.bases.keys import unlock
from zdiffsync.errors import IntegrityError
from zdiffsync.format.zstd import compress
from zdiffsync.store.object_cache import ObjectCache
from zdiffsync.store.secret import Secret

MIB = 1 << 20


@contextmanager
def memory(most):
    """Fail when the body takes more than `most` bytes at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@pytest.fixture
def read(tmp_path):
    """Read the file of a repository in memory."""

    def read(repository):
        bases = Bases(repository, Secret(b"secret"), tmp_path / "b", ObjectCache(tmp_path / "o", MIB))
        file = bases.file(bases.node(repository.snapshot, b"d/f"))
        return file.read(0, file.size)

    return read


def changed(part, value):
    return Repository(lambda name, right: value if name == part else right)


def test_a_chunk_that_unpacks_to_more_than_its_index_says(read):
    bomb = compress(bytes(1 << 30))
    chunks = iter([compress(CONTENT[0]), bomb])
    repository = Repository(lambda name, right: next(chunks, right) if name == "blob" else right)
    with memory(16 * MIB), pytest.raises(IntegrityError, match="more than the 5000 bytes it may"):
        read(repository)


def test_a_chunk_that_unpacks_to_less_than_its_index_says(read):
    def longer(name, right):
        if name != "index":
            return right
        index = json.loads(right)
        index["packs"][0]["blobs"][1]["uncompressed_length"] += 1
        return json.dumps(index).encode()

    with pytest.raises(IntegrityError):
        read(Repository(longer))


@pytest.mark.parametrize("part", ["index", "snapshot"])
def test_an_index_or_snapshot_that_unpacks_to_more_than_any_has(read, monkeypatch, part):
    monkeypatch.setattr(objects, "LARGEST", 4 * MIB)
    repository = changed(part, bytes(1 << 28))
    with memory(32 * MIB), pytest.raises(IntegrityError, match="more than the 4194304 bytes it may"):
        read(repository)


def test_a_key_file_that_would_keep_us_busy_for_days():
    slow = json.loads(key_file()) | {"N": 1 << 16, "r": 8, "p": 1 << 20}
    with pytest.raises(IntegrityError, match="too long to derive"):
        unlock(json.dumps(slow).encode(), Secret(b"secret"))


@pytest.mark.parametrize("tree", ["x", "..", "AB" * 32, "ab" * 31, "ab " * 21 + "a", "\udcb1"])
def test_a_snapshot_whose_tree_is_no_id(read, tree):
    with pytest.raises(IntegrityError, match="does not parse"):
        read(changed("snapshot", b'{"tree": "%s"}' % tree.encode("utf-8", "surrogateescape")))
