"""The tripwire's judgement: of figures, of heads of files, of change sets."""

import gzip
import lzma
import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zdiffsync.backup.changes import ChangeSet, Detection, ObjectChange
from zdiffsync.backup.samples import Samples, looks_random, take_samples
from zdiffsync.backup.tally import Tally, tally
from zdiffsync.backup.tripwire import Finding, Night, judge
from zdiffsync.backup.tripwire_settings import TripwireSettings
from zdiffsync.external.tree import Identity, SnapshotTree

QUIET = [Night(2, 120)] * 5
NONE = Samples(0, 0)
PROSE = b"".join(b"line %d of what somebody wrote\n" % number for number in range(300))


def found(
    night: Night,
    *,
    files: int | None = 50_000,
    history: Sequence[Night] = QUIET,
    samples: Samples = NONE,
    settings: TripwireSettings = TripwireSettings(),  # noqa: B008 - frozen
) -> Finding | None:
    return judge(settings, night, files=files, history=history, samples=samples)


def test_an_ordinary_night_is_not_unusual():
    assert found(Night(40, 600)) is None


@pytest.mark.parametrize(
    ("night", "samples", "words"),
    [
        (Night(15_001, 0), NONE, "15,001 of 50,000 files were deleted, usually about 2 a night"),
        (Night(0, 25_001), NONE, "25,001 of 50,000 files were rewritten, usually about 120 a night"),
        (Night(0, 400), Samples(40, 38),
         "400 of 50,000 files were rewritten, usually about 120 a night; 95% of the samples look encrypted"),
        (Night(50_000, 48_120), NONE,
         ("50,000 of 50,000 files were deleted, usually about 2 a night; "
          "48,120 of 50,000 files were rewritten, usually about 120 a night")),
    ],
)  # fmt: skip
def test_what_is_unusual_is_said_in_figures(night, samples, words):
    assert str(found(night, samples=samples)) == words


@pytest.mark.parametrize("night", [Night(15_000, 0), Night(0, 25_000)])
def test_the_shares_themselves_are_still_usual(night):
    assert found(night) is None


def test_a_small_dataset_does_not_trip():
    assert found(Night(99, 99), files=99, samples=Samples(64, 64)) is None
    assert found(Night(100, 0), files=100) is not None


def test_of_a_short_history_only_encryption_is_unusual():
    for history in ([], [Night(0, 0)], [Night(0, 0), Night(0, 100)]):
        assert found(Night(50_000, 50_000), history=history) is None
        assert found(Night(0, 50_000), history=history, samples=Samples(64, 64)) is not None
    assert found(Night(50_000, 50_000), files=None) is None


def test_what_happened_twice_is_usual_and_what_happened_once_is_not():
    great = Night(0, 45_000)
    assert found(great, history=[*QUIET, great]) is not None
    assert found(great, history=[*QUIET, great, great]) is None


def test_few_samples_or_a_few_encrypted_ones_say_nothing():
    assert found(Night(0, 400), samples=Samples(15, 15)) is None
    assert found(Night(0, 400), samples=Samples(64, 51)) is None


def test_an_extension_that_nearly_all_got_is_named():
    finding = judge(
        TripwireSettings(), Night(0, 400), files=500, history=[], samples=Samples(20, 20), extension=".locked"
    )
    assert "400 of 500 files were rewritten and now end in '.locked', usually" in str(finding)


COUNTS = st.integers(0, 200_000)
NIGHTS = st.builds(Night, COUNTS, COUNTS)
SAMPLES = st.integers(0, 64).flatmap(
    lambda judged: st.builds(Samples, st.just(judged), st.integers(0, judged))
)
SETTINGS = st.builds(
    TripwireSettings, enabled=st.just(True), deleted=st.floats(0, 1), changed=st.floats(0, 1),
    min_files=st.integers(1, 1000),
)  # fmt: skip


@given(NIGHTS, COUNTS, st.lists(NIGHTS, max_size=8), SAMPLES, SETTINGS)
def test_more_of_the_same_is_never_less_unusual(night, files, history, samples, settings):
    if found(night, files=files, history=history, samples=samples, settings=settings) is not None:
        worse = Night(night.deleted + 1, night.rewritten + 1)
        assert found(worse, files=files, history=history, samples=samples, settings=settings) is not None


@given(NIGHTS, COUNTS, st.lists(NIGHTS, max_size=8), SETTINGS)
def test_a_night_like_two_before_is_never_unusual_by_its_counts(night, files, history, settings):
    assert found(night, files=files, history=[*history, night, night], settings=settings) is None


@given(NIGHTS, COUNTS, st.lists(NIGHTS, max_size=8), SAMPLES, SETTINGS)
def test_few_files_never_trip(night, files, history, samples, settings):
    finding = found(night, files=files, history=history, samples=samples, settings=settings)
    if finding is not None:
        assert max(night.deleted, night.rewritten) >= settings.min_files
        assert str(finding)


@given(NIGHTS, COUNTS, st.lists(NIGHTS, max_size=8), SAMPLES)
def test_switched_off_it_never_trips(night, files, history, samples):
    off = TripwireSettings(enabled=False)
    assert found(night, files=files, history=history, samples=samples, settings=off) is None


@given(st.integers(512, 8192), st.integers(0, 1 << 64))
def test_random_bytes_look_random_and_text_does_not(size, seed):
    assert looks_random(random.Random(seed).randbytes(size))
    assert not looks_random((PROSE * 2)[:size])


class Trees:
    """Two trees of plain files beside each other, and what changed between them."""

    def __init__(self, home: Path) -> None:
        self.sides = home / "old", home / "new"
        for side in self.sides:
            side.mkdir()
        self.objects: list[ObjectChange] = []
        self.gone: dict[Identity, tuple[bytes, ...]] = {}

    def write(self, side: int, name: str, data: bytes, mtime: int = 0) -> None:
        path = self.sides[side] / name
        path.write_bytes(data)
        os.utime(path, ns=(mtime, mtime))

    def change(self, old: str | None, *names: str, ranges: tuple[tuple[int, int], ...] | None = None) -> None:
        self.objects.append(
            ObjectChange(
                Identity(len(self.objects), 1), None if old is None else old.encode(),
                tuple(name.encode() for name in names), ranges=ranges, names_before=0 if old is None else 1,
            )
        )  # fmt: skip

    def lose(self, *names: str) -> None:
        self.gone[Identity(1000 + len(self.gone), 1)] = tuple(name.encode() for name in names)

    def tally(self) -> Tally:
        changes = ChangeSet({}, tuple(self.objects), {}, {}, Detection("test"), self.gone)
        with SnapshotTree(os.fsencode(self.sides[0])) as old, SnapshotTree(os.fsencode(self.sides[1])) as new:
            return tally(changes, old, new)

    def samples(self, pairs: list[tuple[bytes, bytes]]) -> Samples:
        with SnapshotTree(os.fsencode(self.sides[0])) as old, SnapshotTree(os.fsencode(self.sides[1])) as new:
            return take_samples(pairs, old, new)


@pytest.fixture
def trees(tmp_path):
    return Trees(tmp_path)


def test_deleted_new_and_moved_files_are_told_apart(trees):
    trees.write(0, "deleted", b"x")
    trees.write(0, "moved", b"x", mtime=5)
    trees.write(1, "moved to", b"x", mtime=5)
    trees.write(1, "new", b"x")
    trees.lose("deleted")
    trees.change("moved", "moved to")
    trees.change(None, "new")
    assert trees.tally() == Tally(deleted=1, rewritten=0, growth=0)


@pytest.mark.parametrize(
    ("now", "mtime", "ranges", "rewritten"),
    [
        (b"same size", 1, None, 1),
        (b"same size", 0, None, 0),
        (b"another size", 0, None, 1),
        (b"same size", 1, ((9, 1 << 63),), 0),
        (b"same size", 0, ((0, 9), (9, 1 << 63)), 1),
    ],
    ids=["time", "mode only", "size", "time, nothing written", "written, time put back"],
)
def test_the_stream_and_else_size_and_time_tell_what_was_rewritten(trees, now, mtime, ranges, rewritten):
    trees.write(0, "file", b"same size")
    trees.write(1, "file", now, mtime)
    trees.change("file", "file", ranges=ranges)
    assert trees.tally().rewritten == rewritten


def test_replaced_files_are_rewritten_and_not_deleted(trees):
    for name in ("saved", "a.txt", "other"):
        trees.write(0, name, b"old")
        trees.lose(name)
    for name in ("saved", "a.txt.locked"):
        trees.write(1, name, b"new")
        trees.change(None, name)
    counted = trees.tally()
    assert (counted.deleted, counted.rewritten, counted.growth) == (1, 2, -1)
    assert counted.pairs == ((b"saved", b"saved"), (b"a.txt", b"a.txt.locked"))
    assert counted.extension is None


def test_a_common_extension_is_seen_on_renamed_and_on_new_files(trees):
    for number in range(5):
        trees.write(0, f"f{number}", b"old")
        trees.write(1, f"f{number}.x", b"newer")
        trees.change(f"f{number}" if number else None, f"f{number}.x")
    trees.lose("f0")
    assert trees.tally().extension == b".x"


def test_hard_links_count_by_their_names_and_one_that_lives_on_is_not_deleted(trees):
    trees.write(0, "a", b"data")
    for name in ("b", "c"):
        os.link(trees.sides[0] / "a", trees.sides[0] / name)
    trees.lose("a", "b", "c")
    assert (trees.tally().deleted, trees.tally().growth) == (3, -3)
    trees.gone.clear()
    trees.lose("a")
    assert trees.tally().deleted == 0


def test_only_regular_files_count(trees):
    os.symlink("nowhere", trees.sides[0] / "link")
    os.mkdir(trees.sides[1] / "folder")
    trees.lose("link")
    trees.change(None, "folder")
    assert trees.tally() == Tally()


def _encrypted(data: bytes) -> bytes:
    return os.urandom(len(data))


@pytest.mark.parametrize(
    ("was", "to", "expected"),
    [
        (PROSE, _encrypted, Samples(64, 64)),
        (PROSE, lambda data: b"LOCKED!\0" * 4 + os.urandom(len(data)), Samples(64, 64)),
        (PROSE, lambda data: data[::-1], Samples(64, 0)),
        (PROSE, lambda _data: gzip.compress(os.urandom(9000)), Samples(64, 0)),
        (PROSE, lambda _data: lzma.compress(os.urandom(9000)), Samples(64, 0)),
        (PROSE[:500], _encrypted, NONE),
        (os.urandom(4096), _encrypted, NONE),
    ],
    ids=["encrypted", "with a header", "edited", "gzip", "xz", "short", "random before"],
)
def test_samples_of_rewritten_files(trees, was, to, expected):
    pairs = []
    for number in range(127):
        trees.write(0, f"{number}", was)
        trees.write(1, f"{number}", to(was))
        pairs.append((b"%d" % number, b"%d" % number))
    assert trees.samples(pairs) == expected


def test_what_cannot_be_read_is_no_sample(trees):
    trees.write(0, "file", PROSE)
    trees.write(1, "file", os.urandom(4096))
    assert trees.samples([(b"gone", b"file"), (b"file", b"file")]) == Samples(1, 1)
    assert trees.samples([]) == NONE
