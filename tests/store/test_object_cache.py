"""The block cache: what it gives is what the object holds, whatever happens to its folder."""

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from zdiffsync.errors import IntegrityError, ObjectMissingError
from zdiffsync.store.object_cache import BLOCK, ObjectCache


class Objects:
    """A remote in memory that counts what is read of it."""

    def __init__(self, **objects):
        self.objects = objects
        self.reads = []
        self.broken = False

    def read_up_to(self, name, offset, length):
        if name not in self.objects or self.broken:
            self.reads.append((name, offset, length))
            raise ObjectMissingError(f"{name} is not there")
        data = self.objects[name][offset : offset + length]
        self.reads.append((name, offset, len(data)))
        if not data:
            raise IntegrityError(f"{name} ends before byte {offset + 1}: it is truncated")
        return data

    def read(self, name, offset, length):
        data = self.read_up_to(name, offset, length)
        if len(data) < length:
            raise IntegrityError(f"{name} ends before byte {offset + length}: it is truncated")
        return data


@pytest.fixture
def remote():
    generator = random.Random(1)
    return Objects(one=generator.randbytes(5 * BLOCK + 77), two=generator.randbytes(100), none=b"")


def on_disk(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_any_range_is_right_and_read_once(remote, tmp_path):
    area = ObjectCache(tmp_path, 1 << 30).over(remote, "s")
    generator = random.Random(2)
    data = remote.objects["one"]
    for _ in range(200):
        offset = generator.randrange(len(data))
        length = generator.randrange(len(data) - offset + 1)
        assert area.read("one", offset, length) == data[offset : offset + length]
    assert area.read("one", 0, len(data)) == data
    assert sum(length for _, _, length in remote.reads) == len(data)
    again = ObjectCache(tmp_path, 1 << 30).over(remote, "s")
    remote.reads.clear()
    assert again.read("one", 0, len(data)) == data
    assert not remote.reads


def test_neighbouring_blocks_come_in_one_read(remote, tmp_path):
    area = ObjectCache(tmp_path, 1 << 30).over(remote, "s")
    area.read("one", BLOCK, 1)
    area.read("one", 0, 5 * BLOCK)
    assert remote.reads == [("one", BLOCK, BLOCK), ("one", 0, BLOCK), ("one", 2 * BLOCK, 3 * BLOCK)]


def test_scopes_do_not_meet(remote, tmp_path):
    cache = ObjectCache(tmp_path, 1 << 30)
    assert cache.over(remote, "a").read("two", 0, 100) == remote.objects["two"]
    other = Objects(two=b"x" * 100)
    assert cache.over(other, "b").read("two", 0, 100) == b"x" * 100


def test_it_stays_within_its_limit(remote, tmp_path):
    limit = 4 * BLOCK
    remote.objects = {str(number): os.urandom(BLOCK) for number in range(40)}
    area = ObjectCache(tmp_path, limit).over(remote, "s")
    for number in range(40):
        assert area.read(str(number), 0, BLOCK) == remote.objects[str(number)]
    assert on_disk(tmp_path) <= 2 * limit


def test_files_are_private(remote, tmp_path):
    ObjectCache(tmp_path / "cache", 1 << 30).over(remote, "s").read("two", 0, 1)
    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "cache").rglob("*")}
    assert modes == {0}


@pytest.mark.parametrize("harm", ["cut", "flip", "empty"])
def test_a_damaged_block_is_fetched_again(remote, tmp_path, harm):
    ObjectCache(tmp_path, 1 << 30).over(remote, "s").read("two", 0, 100)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            data = bytearray(path.read_bytes())
            data[50] ^= harm == "flip"
            path.write_bytes({"cut": data[:-10], "flip": data, "empty": b""}[harm])
    area = ObjectCache(tmp_path, 1 << 30).over(remote, "s")
    assert area.read("two", 0, 100) == remote.objects["two"]
    assert len(remote.reads) == 2


def test_a_folder_that_cannot_be_written_costs_time_only(remote, tmp_path):
    (tmp_path / "file").write_text("in the way")
    area = ObjectCache(tmp_path / "file" / "cache", 1 << 30).over(remote, "s")
    for _ in range(2):
        assert area.read("two", 10, 20) == remote.objects["two"][10:30]


def test_errors_reach_all_who_wait_and_are_not_kept(remote, tmp_path):
    area = ObjectCache(tmp_path, 1 << 30).over(remote, "s")
    remote.broken = True
    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(area.read, "one", 0, 10) for _ in range(8)]
        assert all(isinstance(result.exception(), ObjectMissingError) for result in results)
    remote.broken = False
    assert area.read("one", 0, 10) == remote.objects["one"][:10]


def test_a_range_beyond_the_end_is_damage(remote, tmp_path):
    area = ObjectCache(tmp_path, 1 << 30).over(remote, "s")
    with pytest.raises(IntegrityError, match="ends before byte 101"):
        area.read("two", 50, 51)
    assert area.read("two", 50, 50) == remote.objects["two"][50:]
    with pytest.raises(IntegrityError):
        area.read("none", 0, 1)
    with pytest.raises(ObjectMissingError):
        area.read("nothing", 0, 1)


def test_many_threads_ask_for_overlapping_ranges(remote, tmp_path):
    area = ObjectCache(tmp_path, 1 << 30).over(remote, "s")
    data = remote.objects["one"]
    barrier = threading.Barrier(8)

    def work(seed):
        generator = random.Random(seed)
        barrier.wait()
        for _ in range(30):
            offset = generator.randrange(len(data) - 1000)
            assert area.read("one", offset, 1000) == data[offset : offset + 1000]
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert sum(length for _, _, length in remote.reads) <= len(data) + 8 * BLOCK


def test_what_was_dropped_is_fetched_again(remote, tmp_path):
    area = ObjectCache(tmp_path, 1 << 30).over(remote, "s")
    area.read("one", 0, BLOCK + 1)
    area.drop("one", BLOCK, 1)
    remote.reads.clear()
    area.read("one", 0, BLOCK + 1)
    assert remote.reads == [("one", BLOCK, BLOCK)]


def test_blocks_in_memory_are_bounded_and_need_no_disk(remote, tmp_path):
    remote.objects = {str(number): bytes([number]) * BLOCK for number in range(64)}
    (tmp_path / "file").touch()
    cache = ObjectCache(tmp_path / "file" / "cache", 1 << 30)
    area = cache.over(remote, "s")
    for number in range(64):
        area.read(str(number), 0, BLOCK)
    remote.reads.clear()
    for number in reversed(range(64)):
        assert area.read(str(number), 7, 1) == bytes([number])
    assert len(remote.reads) == 64 - (16 << 20) // BLOCK


def test_sparing_a_first_small_read_fetches_what_it_asks_for_and_a_second_the_block(remote, tmp_path):
    area = ObjectCache(tmp_path, 1 << 30).over(remote, "s", sparing=True)
    data = remote.objects["one"]
    for offset, length in (
        (10, 100),
        (5_000, 100),
        (10, 100),
        (BLOCK + 1, 3),
        (BLOCK - 1, 2),
        (BLOCK + 9, 1),
    ):
        assert area.read("one", offset, length) == data[offset : offset + length]
    assert remote.reads == [("one", 10, 100), ("one", 0, BLOCK), ("one", BLOCK + 1, 3), ("one", BLOCK, BLOCK)]
    remote.reads.clear()
    assert area.read("one", 2 * BLOCK, 100_000) == data[2 * BLOCK :][:100_000]
    assert remote.reads == [("one", 2 * BLOCK, BLOCK)]
    with pytest.raises(IntegrityError, match="truncated"):
        area.read("two", 90, 100)
