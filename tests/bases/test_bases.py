"""Bases read from real restic repositories: equal to what restic itself says, lazily, and never wrong."""

import os
import random
import shutil
import stat
import threading

import pytest

from zdiffsync.bases.bases import Bases
from zdiffsync.errors import (
    IntegrityError,
    ObjectMissingError,
    RemoteError,
    ResticError,
    WrongPasswordError,
    ZdiffsyncError,
)
from zdiffsync.format.zstd import compress
from zdiffsync.model.entry import EntryType
from zdiffsync.store.object_cache import BLOCK, ObjectCache
from zdiffsync.store.secret import Secret


def walk(bases, snapshot, path=b""):
    for name, node in bases.directory(snapshot, path).items():
        full = path + b"/" + name if path else name
        yield full, node
        if node.entry.type is EntryType.DIRECTORY:
            yield from walk(bases, snapshot, full)


def packs(home):
    return sorted(path for path in (home.remote / "restic/data").rglob("*") if path.is_file())


def damage(path, offset):
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_every_directory_is_what_restic_says(backed_up):
    bases = backed_up.home.reader(backed_up.store)
    door = backed_up.home.door()
    seen = 0
    for folder in [b"", *(path for path, node in walk(bases, backed_up.snapshot) if node.subtree)]:
        expected = {node.name: node for node in door.tree(backed_up.snapshot, folder)}
        found = bases.directory(backed_up.snapshot, folder)
        assert found.keys() == expected.keys()
        for name, node in found.items():
            assert (node.entry, node.inode, node.links) == (
                expected[name].entry, expected[name].inode, expected[name].links,
            )  # fmt: skip
            seen += 1
    assert seen > 20


def test_every_file_reads_as_it_was(backed_up):
    bases = backed_up.home.reader(backed_up.store)
    generator = random.Random(7)
    for path, node in walk(bases, backed_up.snapshot):
        info = os.lstat(os.fsencode(backed_up.source) + b"/" + path)
        assert info.st_ino == node.inode
        if not stat.S_ISREG(info.st_mode):
            continue
        data = (backed_up.source / os.fsdecode(path)).read_bytes()
        file = bases.file(node)
        assert file.size == len(data)
        assert file.read(0, file.size) == data
        for _ in range(20 if data else 0):
            offset = generator.randrange(len(data))
            length = generator.randrange(len(data) - offset + 1)
            assert file.read(offset, length) == data[offset : offset + length]
        assert [chunk.offset for chunk in file.chunks] == [
            sum(chunk.length for chunk in file.chunks[:number]) for number in range(len(file.chunks))
        ]
        assert sum(chunk.length for chunk in file.chunks) == len(data)


def test_what_is_not_there(backed_up):
    bases = backed_up.home.reader(backed_up.store)
    snapshot = backed_up.snapshot
    assert bases.node(snapshot, b"nothing") is None
    assert bases.node(snapshot, b"plain/below a file") is None
    assert bases.directory(snapshot, b"plain") is None
    assert bases.directory(snapshot, b"no/where") is None
    assert bases.directory(snapshot, b"empty") == {}
    root = bases.node(snapshot, b"")
    assert root.entry.type is EntryType.DIRECTORY
    assert root.subtree == bases.root(snapshot)
    with pytest.raises(ObjectMissingError):
        bases.root("0" * 64)


def test_listings_that_were_seen_need_neither_password_nor_remote(backed_up, tmp_path):
    home = backed_up.home
    before = dict(walk(home.reader(backed_up.store, cache=tmp_path), backed_up.snapshot))

    class Nowhere:
        def __getattr__(self, name):
            raise AssertionError(f"the remote was asked: {name}")

    blocks = ObjectCache(tmp_path / "objects", 1 << 30)
    offline = Bases(Nowhere(), Secret(b"wrong"), tmp_path / "index", blocks)
    assert dict(walk(offline, backed_up.snapshot)) == before


def test_a_small_read_costs_no_more_than_what_it_lies_in(backed_up):
    bases = backed_up.home.reader(backed_up.store)
    plain, large = (bases.node(backed_up.snapshot, name) for name in (b"plain", b"large"))
    largest = max(chunk.stored for chunk in bases.file(large).chunks)
    for node, most in (plain, 2 * BLOCK), (large, largest + 2 * BLOCK):
        before = backed_up.store.plain.received
        bases.file(node).read(node.entry.size // 2, 1)
        assert 0 <= backed_up.store.plain.received - before <= most
    assert backed_up.store.plain.received - before > 0


def test_eight_threads_read_one_file(backed_up):
    bases = backed_up.home.reader(backed_up.store, limit=1 << 20)
    data = (backed_up.source / "large").read_bytes()
    file = bases.file(bases.node(backed_up.snapshot, b"large"))
    wrong = []

    def work(seed):
        generator = random.Random(seed)
        for _ in range(40):
            offset = generator.randrange(len(data) - 5000)
            if file.read(offset, 5000) != data[offset : offset + 5000]:
                wrong.append(offset)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_second_key_opens_it_too(fresh, tmp_path):
    (tmp_path / "second").write_text("battery staple\n")
    fresh.home.restic("key", "add", "--new-password-file", str(tmp_path / "second"))
    bases = fresh.home.reader(fresh.store, password=b"battery staple")
    assert bases.directory(fresh.snapshot, b"").keys() == {b"a", b"folder"}


def test_the_key_that_fitted_is_kept_and_private(fresh, tmp_path, monkeypatch):
    fresh.home.reader(fresh.store, cache=tmp_path).root(fresh.snapshot)
    assert (tmp_path / "index/key").stat().st_mode & 0o777 == 0o600
    shutil.rmtree(tmp_path / "objects")
    read, read_all = [], fresh.store.plain.read_all
    monkeypatch.setattr(
        fresh.store.plain, "read_all", lambda name, most: read.append(name) or read_all(name, most)
    )
    assert fresh.home.reader(fresh.store, cache=tmp_path).root(fresh.snapshot)
    assert read == [f"restic/snapshots/{fresh.snapshot}"]


@pytest.mark.parametrize("harm", ["cut", "another repository's", "nonsense"])
def test_a_kept_key_that_does_not_fit_costs_time_only(fresh, tmp_path, harm):
    fresh.home.reader(fresh.store, cache=tmp_path).root(fresh.snapshot)
    kept = tmp_path / "index/key"
    whole = kept.read_bytes()
    if harm == "another repository's":
        (tmp_path / "other").mkdir()
        other = type(fresh.home)(tmp_path / "other", fresh.home.binary)
        (harmed,) = (path.read_bytes() for path in (other.remote / "restic/keys").iterdir())
    else:
        harmed = {"cut": whole[:-9], "nonsense": b"{}"}[harm]
    kept.write_bytes(harmed)
    shutil.rmtree(tmp_path / "objects")
    bases = fresh.home.reader(fresh.store, cache=tmp_path)
    assert bases.file(bases.node(fresh.snapshot, b"a")).read(0, 3) == b"aaa"
    assert kept.read_bytes() == whole


def test_a_wrong_password_says_so(fresh):
    with pytest.raises(WrongPasswordError, match="does not open the restic repository of the bases"):
        fresh.home.reader(fresh.store, password=b"wrong").root(fresh.snapshot)


def test_no_repository_says_so(fresh):
    shutil.rmtree(fresh.home.remote / "restic" / "keys")
    with pytest.raises(ResticError, match="run zdiffsync init"):
        fresh.home.reader(fresh.store).directory(fresh.snapshot, b"")


def test_after_a_prune_the_new_places_are_found(fresh, tmp_path):
    bases = fresh.home.reader(fresh.store, cache=tmp_path / "cache")
    node = bases.node(fresh.snapshot, b"folder/b")
    for number in range(3):
        (fresh.source / f"more{number}").write_bytes(os.urandom(50_000))
    second = fresh.home.backup(fresh.source)
    shutil.rmtree(fresh.home.remote / "restic/index")
    (fresh.home.remote / "restic/index").mkdir()
    fresh.home.restic("repair", "index", "--read-all-packs")
    fresh.home.restic("forget", fresh.snapshot)
    fresh.home.restic("prune", "--max-unused", "0", "--repack-small")
    assert bases.directory(second, b"").keys() > {b"a", b"more0"}
    assert bases.file(node).read(0, 100_000) == (fresh.source / "folder/b").read_bytes()


def test_damage_is_named_with_its_pack_and_hits_one_file(fresh):
    data_pack = next(path for path in packs(fresh.home) if path.stat().st_size > 100_000)
    damage(data_pack, data_pack.stat().st_size // 2)
    bases = fresh.home.reader(fresh.store)
    with pytest.raises(IntegrityError, match=f"in pack {data_pack.name} of the base is damaged"):
        bases.file(bases.node(fresh.snapshot, b"folder/b")).read(0, 10)
    assert bases.file(bases.node(fresh.snapshot, b"a")).read(0, 1000) == b"a" * 1000


def test_damage_in_the_cache_is_read_again_from_the_remote(fresh, tmp_path):
    cache = tmp_path / "cache"
    node = fresh.home.reader(fresh.store, cache=cache).node(fresh.snapshot, b"folder/b")
    expected = (fresh.source / "folder/b").read_bytes()
    assert fresh.home.reader(fresh.store, cache=cache).file(node).read(0, 100_000) == expected
    for path in (cache / "objects").rglob("*"):
        if path.is_file():
            damage(path, path.stat().st_size // 2)
    bases = fresh.home.reader(fresh.store, cache=cache)
    assert bases.directory(fresh.snapshot, b"folder").keys() == {b"b"}
    assert bases.file(node).read(0, 100_000) == expected


def test_a_missing_pack_is_missing(fresh):
    for path in packs(fresh.home):
        if path.stat().st_size > 100_000:
            path.unlink()
    bases = fresh.home.reader(fresh.store)
    node = bases.node(fresh.snapshot, b"folder/b")
    with pytest.raises(ObjectMissingError):
        bases.file(node).read(0, 10)


@pytest.mark.parametrize("folder", ["index", "snapshots", "keys"])
def test_truncated_objects_are_damage(fresh, folder):
    for path in (fresh.home.remote / "restic" / folder).iterdir():
        path.chmod(0o600)
        os.truncate(path, path.stat().st_size // 2)
    with pytest.raises((IntegrityError, WrongPasswordError)):
        fresh.home.reader(fresh.store).directory(fresh.snapshot, b"")


def test_a_remote_that_is_gone_is_a_remote_error(fresh):
    bases = fresh.home.reader(fresh.store)
    fresh.store.close()
    with pytest.raises(RemoteError):
        bases.directory(fresh.snapshot, b"")


def test_an_index_table_cut_off_by_a_full_disk_is_made_again(fresh, tmp_path):
    cache = tmp_path / "cache"
    node = fresh.home.reader(fresh.store, cache=cache).node(fresh.snapshot, b"a")
    for path in (cache / "index").iterdir():
        os.truncate(path, 40)
    assert fresh.home.reader(fresh.store, cache=cache).file(node).read(0, 3) == b"aaa"


def test_a_cache_that_cannot_be_written_costs_time_only(fresh, tmp_path):
    (tmp_path / "file").touch()
    bases = fresh.home.reader(fresh.store, cache=tmp_path / "file" / "cache")
    node = bases.node(fresh.snapshot, b"folder/b")
    assert bases.file(node).read(0, 100_000) == (fresh.source / "folder/b").read_bytes()


def test_a_listing_changed_in_the_cache_is_not_believed(fresh, tmp_path):
    """Also one whose checksum is right: the listing's own id decides."""
    first = fresh.home.reader(fresh.store, cache=tmp_path)
    root = first.root(fresh.snapshot)
    listing = first.tree(root)
    cache = ObjectCache(tmp_path / "objects", 1 << 30)
    cache.put(f"{root}-tree", compress(b'{"nodes":[]}'))
    assert fresh.home.reader(fresh.store, cache=tmp_path).tree(root) == listing


def test_errors_are_ours(fresh):
    """Whatever byte of whatever object is damaged, the reader raises one of our errors or is not touched."""
    generator = random.Random(3)
    files = [path for path in (fresh.home.remote / "restic").rglob("*") if path.is_file()]
    for _ in range(20):
        path = generator.choice(files)
        whole = path.read_bytes()
        damage(path, generator.randrange(len(whole)))
        bases = fresh.home.reader(fresh.store)
        try:
            found = dict(walk(bases, fresh.snapshot))
            for node in found.values():
                if node.entry.type is EntryType.FILE:
                    assert len(bases.file(node).read(0, node.entry.size)) == node.entry.size
        except ZdiffsyncError as error:
            assert "\n" not in str(error)  # noqa: PT017 - any of our errors will do
        path.write_bytes(whole)
