"""Reading through blocks: the right bytes, made once, ahead only where reads follow one another."""

import random
import threading
from dataclasses import dataclass, field

import pytest
import trio

from zdiffsync.errors import IntegrityError, RemoteError
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.mount.blocks import BLOCK, Blocks
from zdiffsync.mount.files import OpenFiles
from zdiffsync.mount.items import Item
from zdiffsync.mount.workers import Workers

DATA = random.Random(3).randbytes(20 * BLOCK + 12_345)


@dataclass
class Source:
    """Bytes that count how they are read, and fail or wait on demand."""

    data: bytes = DATA
    place: str = "point:/file"
    reads: list = field(default_factory=list)
    opened: int = 0
    error: Exception | None = None
    gate: threading.Event | None = None

    @property
    def size(self):
        return len(self.data)

    def open(self):
        self.opened += 1
        return self

    def read(self, offset, length):
        self.reads.append((offset, length))
        if self.gate is not None:
            self.gate.wait(10)
        if self.error is not None:
            raise self.error
        assert offset + length <= self.size
        return self.data[offset : offset + length]


def item(source, inode=5):
    return Item(inode, Entry(EntryType.FILE, 0o644, 0, 0, 0, source.size), content=source)


def play(reader, patience=10.0, limit=96 << 20):
    """Run `reader(files)` in an event loop."""

    async def main():
        async with trio.open_nursery() as nursery:
            workers = Workers(patience)
            await reader(OpenFiles(Blocks(workers, nursery, limit), workers))
            nursery.cancel_scope.cancel()

    trio.run(main)


@pytest.mark.parametrize("step", [4096, 131_072, BLOCK, 3 * BLOCK + 17])
def test_from_front_to_back_every_byte_is_right_and_made_once(step):
    source = Source()

    async def read(files):
        file = files.file(files.open(item(source), source))
        parts = [await file.read(at, step) for at in range(0, source.size, step)]
        assert b"".join(parts) == DATA
        assert await file.read(source.size, step) == b""
        assert await file.read(source.size + 5, step) == b""

    play(read)
    assert source.opened == 1
    blocks = [read for read in source.reads if read[0] % BLOCK == 0 and read[1] != step]
    assert len(blocks) == len(set(blocks))
    assert sum(length for _, length in source.reads) <= source.size + 2 * step


def test_any_read_is_right():
    source, rng = Source(), random.Random(1)

    async def read(files):
        file = files.file(files.open(item(source), source))
        for _ in range(300):
            at, length = rng.randrange(source.size), rng.choice((1, 4096, 200_000, 2 * BLOCK))
            assert await file.read(at, length) == DATA[at : at + length]

    play(read)


def test_a_read_on_its_own_costs_what_it_asks_for():
    source = Source()

    async def read(files):
        file = files.file(files.open(item(source), source))
        for at in 0, 10 * BLOCK, 3 * BLOCK, 17 * BLOCK:
            await file.read(at + 100, 4096)

    play(read)
    assert source.reads == [(at * BLOCK + 100, 4096) for at in (0, 10, 3, 17)]


def test_a_small_file_is_read_whole():
    source = Source(DATA[:100_000])

    async def read(files):
        file = files.file(files.open(item(source), source))
        assert await file.read(90_000, 4096) == DATA[90_000:94_096]
        assert await file.read(0, 4096) == DATA[:4096]

    play(read)
    assert source.reads == [(0, 100_000)]


def test_many_readers_share_what_is_made():
    source = Source(DATA[: 3 * BLOCK])

    async def read(files):
        async def one():
            file = files.file(files.open(item(source), source))
            parts = [await file.read(at, 65_536) for at in range(0, source.size, 65_536)]
            assert b"".join(parts) == source.data

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(one)

    play(read)
    assert source.opened == 1
    blocks = [read for read in source.reads if read[1] == BLOCK]
    assert len(blocks) == len(set(blocks))


def test_memory_is_bounded_and_the_bytes_still_right():
    source = Source()

    async def read(files):
        file = files.file(files.open(item(source), source))
        for _ in range(2):
            parts = [await file.read(at, 131_072) for at in range(0, source.size, 131_072)]
            assert b"".join(parts) == DATA
        assert sum(map(len, files._blocks._kept.values())) <= 4 * BLOCK

    play(read, limit=4 * BLOCK)


def test_an_error_is_for_those_who_read_it_and_is_tried_again():
    source = Source(DATA[:50_000], error=IntegrityError("pack p is damaged"))

    async def read(files):
        file = files.file(files.open(item(source), source))
        with pytest.raises(IntegrityError, match="pack p"):
            await file.read(0, 4096)
        source.error = None
        assert await file.read(0, 4096) == DATA[:4096]

    play(read)


def test_who_hangs_fails_in_time_and_holds_up_nobody():
    hanging, other = Source(DATA[:5000], gate=threading.Event()), Source(DATA[:6000])

    async def read(files):
        stuck = files.file(files.open(item(hanging, 1), hanging))
        free = files.file(files.open(item(other, 2), other))

        async def expect_failure():
            with pytest.raises(RemoteError, match=r"no answer within 0\.5 s"):
                await stuck.read(0, 100)

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(expect_failure)
                await trio.sleep(0.1)
                assert await free.read(0, 100) == DATA[:100]
            hanging.gate.set()
            assert await stuck.read(0, 100) == DATA[:100]

    play(read, patience=0.5)


def test_a_file_stays_open_for_who_opens_it_again():
    source, others = Source(), [Source(DATA[:10]) for _ in range(9)]

    async def read(files):
        for _ in range(3):
            handle = files.open(item(source), source)
            await files.file(handle).read(5 * BLOCK, 10)
            files.close(handle)
        assert source.opened == 1
        for number, other in enumerate(others):
            files.close(files.open(item(other, 100 + number), other))
        handle = files.open(item(source), source)
        await files.file(handle).read(9 * BLOCK, 10)

    play(read)
    assert source.opened == 2
