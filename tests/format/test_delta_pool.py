"""The workers: what they make is right, what hangs is ended, nothing stays behind."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zdiffsync.errors import IntegrityError
from zdiffsync.format.delta_patch import apply_patch, make_patch
from zdiffsync.format.delta_policy import DeltaPolicy
from zdiffsync.format.delta_pool import DeltaPool
from zdiffsync.format.delta_window import WindowPacker
from zdiffsync.format.windows import OpKind
from zdiffsync.format.zstd import compress, decompress

NOISE = random.Random(4).randbytes(1 << 20)
SECONDS = 30.0
# bsdiff takes about 20 s on this, and 130 s on four times as much.
ENDLESS = bytes(1 << 20)


def edited(data):
    places = random.Random(5)
    changed = bytearray(data)
    for _ in range(50):
        changed[places.randrange(len(changed))] ^= 0x55
    return bytes(changed)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=600), st.binary(max_size=600), st.integers(0, 600))
def test_a_patch_gives_the_new_bytes(old, extra, cut):
    new = old[:cut] + extra + old[cut:]
    assert apply_patch(make_patch(old, new), old, len(new)) == new
    assert apply_patch(make_patch(old, extra), old, len(extra)) == extra


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_patch_gives_as_many_bytes_or_is_refused(data):
    old = NOISE[:2000]
    new = old[500:1500] + b"something new" + old[:700]
    streams = bytearray(decompress(make_patch(old, new), 10_000))
    streams[data.draw(st.integers(0, len(streams) - 1))] = data.draw(st.integers(0, 255))
    del streams[len(streams) - data.draw(st.integers(0, 3)) :]
    try:
        assert len(apply_patch(compress(bytes(streams)), old, len(new))) == len(new)
    except IntegrityError:
        return


def test_a_patch_of_an_absurd_length_is_refused():
    with pytest.raises(IntegrityError, match="more than the"):
        apply_patch(compress(bytes(1 << 24)), b"old", 10)
    with pytest.raises(IntegrityError, match="number of steps"):
        apply_patch(compress(b"\xff\xff\x03\x00"), b"old", 10)


def children():
    return {child.pid for child in multiprocessing.active_children()}


def test_threads_share_as_many_processes_as_there_are_workers():
    new = edited(NOISE)
    before = children()
    with DeltaPool(2) as pool:
        found = [pool.submit(pool.bsdiff, NOISE, new, SECONDS) for _ in range(5)]
        for patch in found:
            assert apply_patch(patch.result(), NOISE, len(new)) == new
        started = children() - before
        assert 1 <= len(started) <= 2
    assert children() == before
    for pid in started:
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def test_no_process_is_started_for_nothing():
    before = children()
    with DeltaPool(2) as pool:
        assert pool.submit(len, b"abc").result() == 3
        assert children() == before


def test_a_bsdiff_that_takes_too_long_is_ended_and_the_next_one_works():
    before = children()
    with DeltaPool(1) as pool:
        began = time.monotonic()
        assert pool.bsdiff(ENDLESS, ENDLESS + NOISE[:4096], 2.0) is None
        assert time.monotonic() - began < 8
        assert children() == before
        patch = pool.bsdiff(NOISE, edited(NOISE), SECONDS)
        assert apply_patch(patch, NOISE, len(NOISE)) == edited(NOISE)


def test_a_worker_that_is_killed_costs_one_patch(caplog):
    with DeltaPool(1) as pool:
        before = children()
        assert pool.bsdiff(b"abc" * 100, b"abd" * 100, SECONDS) is not None
        (worker,) = children() - before
        os.kill(worker, signal.SIGKILL)
        assert pool.bsdiff(b"abc" * 100, b"abd" * 100, SECONDS) is None
        assert "worker died" in caplog.text
        assert pool.bsdiff(b"abc" * 100, b"abd" * 100, SECONDS) is not None


def test_ctrl_c_leaves_a_worker_to_its_parent():
    with DeltaPool(1) as pool:
        before = children()
        assert pool.bsdiff(b"abc" * 100, b"abd" * 100, SECONDS) is not None
        (worker,) = children() - before
        os.kill(worker, signal.SIGINT)
        assert pool.bsdiff(b"abc" * 100, b"abd" * 100, SECONDS) is not None
        assert children() - before == {worker}


KILLED_PARENT = """
import multiprocessing, threading, time
from zdiffsync.format.delta_pool import DeltaPool

if __name__ == "__main__":
    pool = DeltaPool(1)
    zeros = bytes(1 << 20)
    threading.Thread(target=pool.bsdiff, args=(zeros, zeros + b"x" * 4096, 600), daemon=True).start()
    while not multiprocessing.active_children():
        time.sleep(0.05)
    time.sleep(1)
    print(multiprocessing.active_children()[0].pid, flush=True)
    time.sleep(600)
"""


def runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_worker_does_not_outlive_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(KILLED_PARENT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        assert runs(worker)
        parent.kill()
    until = time.monotonic() + 5
    while runs(worker):
        assert time.monotonic() < until, "the worker is still there"
        time.sleep(0.05)


class Counting(DeltaPool):
    """A pool whose bsdiff always takes too long."""

    def __init__(self):
        super().__init__(1)
        self.asked = 0

    def bsdiff(self, old, new, seconds):
        del old, new, seconds
        self.asked += 1


def test_a_content_bsdiff_does_not_suit_is_not_tried_again_and_again():
    with Counting() as pool:
        packer = WindowPacker(pool, DeltaPolicy(cpu_price=0.0))
        for _ in range(20):
            assert packer.pack(edited(NOISE), NOISE, 0).kind is OpKind.PREFIX
        assert 1 <= pool.asked <= 3


def test_repetitive_bytes_are_kept_from_bsdiff():
    with Counting() as pool:
        packer = WindowPacker(pool, DeltaPolicy(cpu_price=0.0))
        packer.pack(NOISE, ENDLESS, 0)
        packer.pack(b"12345678" * 100_000 + NOISE[:2000], NOISE, 0)
        assert pool.asked == 0


# A table of addresses that all moved by the same distance: what bsdiff was made for.
def addresses(distance):
    places = random.Random(6)
    rows = []
    for _ in range(20_000):
        rows.append(places.randbytes(places.choice((4, 8, 12))))
        rows.append((places.randrange(1 << 24) + distance).to_bytes(4, "little"))
    return b"".join(rows)


@pytest.mark.parametrize(
    ("bytes_per_second", "kind"), [(1e4, OpKind.PATCH), (1e9, OpKind.PREFIX)], ids=["slow line", "fast line"]
)
def test_a_slow_line_buys_bsdiff_and_a_fast_one_does_not(bytes_per_second, kind):
    old, new = addresses(0), addresses(4096)
    with DeltaPool(1) as pool:
        packer = WindowPacker(pool, DeltaPolicy(upload_bytes_per_second=bytes_per_second))
        assert packer.pack(new, old, 0).kind is kind


def texts():
    chance = random.Random(7)
    words = [bytes(chance.choices(range(97, 123), k=chance.randrange(2, 9))) for _ in range(3000)]
    old = b" ".join(chance.choices(words, k=40_000))
    return old, old[:50_000] + b" ".join(chance.choices(words, k=40_000)) + old[50_000:]


def packed(policy, *, spent=0.0):
    old, new = texts()
    with DeltaPool(1) as pool:
        pool.effort.seconds = spent
        made = WindowPacker(pool, policy).pack(new, old, 0)
        assert pool.effort.stored == len(made.payload)
        return len(made.payload)


def test_strong_forms_are_made_beside_a_slow_upload_and_not_beyond_it():
    slow, fast = DeltaPolicy(upload_bytes_per_second=1e6), DeltaPolicy(upload_bytes_per_second=1e9)
    assert packed(slow) < 0.95 * packed(slow, spent=226.0) < 1.1 * packed(fast)
    assert packed(fast) == packed(fast, spent=226.0)
