"""Points forgotten from a real repository, and its space freed: what stays restores as before."""

import contextlib
import io
import itertools
import json
import os
import random
import sqlite3
import subprocess

import pytest

import mounted_world
from mounted_world import World
from oracle import differences
from zdiffsync.cli.main import invoke

POINTS = 7


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A chain in which files come and go, go back to what they were, move, and grow by deltas."""
    rng = random.Random(4)
    world = World(tmp_path_factory.mktemp("made"))
    root = world.tree
    (root / "dir/sub").mkdir(parents=True)
    (root / "dir/sub/file").write_bytes(b"first")
    (root / "dir/other").write_bytes(b"other")
    (root / "image").write_bytes(rng.randbytes(3 << 20))
    world.base()
    for sequence in range(1, POINTS):
        patch(root / "image", sequence * 300_000, rng.randbytes(2000))
        (root / f"big {sequence}").write_bytes(rng.randbytes(700_000))
        changed, removed, renamed = [f"big {sequence}"], [], {}
        if sequence > 2:
            (root / f"big {sequence - 2}").unlink()
            removed.append(f"big {sequence - 2}")
        if sequence == 4:
            (root / "dir/sub").rename(root / "moved")
            renamed = {"dir/sub": "moved"}
        else:
            changed.append("moved/file" if sequence > 4 else "dir/sub/file")
            (root / changed[-1]).write_bytes(b"first" if sequence in {3, 5} else b"%d" % sequence)
        world.increment(changed=changed, removed=removed, deltas=["image"], renamed=renamed)
    return world


def patch(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


class Kept:
    """A copy of the repository, and what the command line does to it."""

    def __init__(self, world, home):
        self.world, self.home = world, home
        self.restored = itertools.count()

    def cli(self, *arguments, expect=0, config=None):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = invoke(["-c", str(config or self.world.config), "--json", *arguments])
        assert code == expect, (arguments, code, out.getvalue())
        return json.loads(out.getvalue())

    def objects(self, folder):
        return sorted(
            path.name for path in (self.world.remote / "data" / folder).rglob("*") if path.is_file()
        )

    def bytes(self):
        return sum(
            path.stat().st_size for path in (self.world.remote / "data/packs").rglob("*") if path.is_file()
        )

    def check(self, *sequences):
        """Restore these points, which are all there are, from the remote alone."""
        keys = [self.world.points[sequence] for sequence in sequences]
        with self.world.catalog() as catalog:
            assert [point.key for point in catalog.points()] == keys
        for key in keys:
            target = self.home / f"restored {next(self.restored)}"
            self.cli("restore", key, "--to", str(target), "--no-local")
            assert differences(self.world.expected / key, target) == []
            subprocess.run(["rm", "-r", target], check=True)

    def rows(self):
        """Everything in the catalog but the rows' own ids."""
        connection = sqlite3.connect(self.world.state / "catalog.sqlite")
        tables = ("chain", "point", "object", "dirent", "version", "content", "portion", "pack", "link")
        found = {}
        for table in tables:
            cursor = connection.execute(f"SELECT * FROM {table}")
            names = [each[0] for each in cursor.description]
            at = names.index("id") if "id" in names else None
            found[table] = sorted(
                (tuple(value for number, value in enumerate(row) if number != at) for row in cursor), key=repr
            )
        connection.close()
        return found


@pytest.fixture
def kept(made, tmp_path):
    world = made.copy(tmp_path / "home")
    with world.catalog():
        pass
    it = Kept(world, tmp_path)
    it.cli("rebuild")
    return it


@pytest.mark.parametrize(
    "gone", [(3,), (0,), (1, 2), (0, 1, 2), (2, 4), (0, 1, 2, 3, 4, 5), (5,), (1, 3, 5)], ids=str
)
def test_any_points_can_go_but_the_newest(kept, gone):
    kept.cli("forget", *(kept.world.points[sequence] for sequence in gone))
    stay = [sequence for sequence in range(POINTS) if sequence not in gone]
    assert len(kept.objects("points")) == len(stay)
    kept.check(*stay)
    before = kept.rows()
    kept.cli("rebuild")
    assert kept.rows() == before


def test_pruning_frees_what_only_forgotten_points_needed(kept):
    kept.cli("forget", *kept.world.points[1:5])
    size = kept.bytes()
    kept.cli("prune", "--now", "--max-unused", "0")
    kept.check(0, 5, 6)
    assert kept.bytes() < size - 3 * 690_000
    assert kept.objects("condemned") == []
    again = kept.cli("prune", "--now", "--max-unused", "0")["rounds"]
    assert all(not each["plan"]["rewrite"] and not each["plan"]["delete_packs"] for each in again)
    before = kept.rows()
    kept.cli("rebuild")
    assert kept.rows() == before
    assert again[-1]["plan"]["unused"] == 0


def test_nothing_is_deleted_before_its_time_of_grace(kept):
    kept.cli("forget", kept.world.points[1], kept.world.points[2])
    packs = kept.objects("packs")
    first = kept.cli("prune", "--max-unused", "0")["rounds"][0]
    assert set(kept.objects("packs")) >= set(packs)
    assert len(kept.objects("condemned")) == 1
    assert first["plan"]["delete_packs"] == []
    second = kept.cli("prune", "--max-unused", "0")["rounds"][0]
    assert second["plan"]["delete_packs"] == second["plan"]["condemn_packs"] == []
    assert len(kept.objects("condemned")) == 1
    kept.check(0, 3, 4, 5, 6)


def test_the_dry_run_shows_the_plan_and_changes_nothing(kept):
    before = [kept.objects("points"), kept.objects("packs")]
    shown = kept.cli("forget", "--keep-last", "2", "--dry-run", "--prune")
    assert shown.pop("prune")[0]["report"] is None
    assert shown["forgotten"] == POINTS - 2
    assert [kept.objects("points"), kept.objects("packs")] == before
    assert kept.cli("forget", "--keep-last", "2") == shown
    plan = kept.cli("prune", "--dry-run", "--max-unused", "0")["rounds"][0]["plan"]
    assert kept.objects("packs") == before[1]
    assert kept.cli("prune", "--max-unused", "0")["rounds"][0]["plan"] == plan


def test_a_chain_goes_with_its_base(kept, monkeypatch):
    """The newest point of the dataset lies in another chain then."""
    world = kept.world
    old = kept.rows()["chain"][0]
    world.chain, first = "f" * 16, len(world.points)
    monkeypatch.setattr(mounted_world, "_FIRST", mounted_world._FIRST + 10**6)
    world._numbers, world._in_base, world._contents = {}, {}, {}
    world.points, gone = [], world.points
    world.base()
    world.points = [*gone, *world.points]
    kept.cli("rebuild")
    kept.cli("forget", *gone)
    kept.cli("prune", "--now")
    assert kept.objects("packs") == []
    kept.check(first)
    assert old not in kept.rows()["chain"]
    snapshots = list((world.remote / "restic/snapshots").iterdir())
    assert len(snapshots) == 1


@pytest.mark.parametrize("arguments", [["--keep-last", "0"], [], ["--keep-daily", "x"], ["none"]])
def test_what_says_nothing_to_keep_is_refused(kept, arguments):
    kept.cli("forget", *arguments, expect=2)
    assert len(kept.objects("points")) == POINTS


def test_the_newest_point_is_not_forgotten_by_name(kept):
    kept.cli("forget", kept.world.points[-1], expect=2)
    kept.check(*range(POINTS))


def test_another_catalog_follows(kept, tmp_path):
    other = tmp_path / "other.toml"
    text = kept.world.config.read_text().replace(str(kept.world.state), str(tmp_path / "other state"))
    other.write_text(text)
    kept.cli("rebuild", config=other)
    kept.cli("forget", kept.world.points[2], kept.world.points[3])
    kept.cli("prune", "--now", "--max-unused", "0")
    kept.cli("prune", "--dry-run", config=other)
    mine = kept.rows()
    kept.world.state = tmp_path / "other state"
    assert kept.rows() == mine


def test_leftovers_of_a_broken_forget_are_ignored_and_go(kept):
    copies = {path: path.read_bytes() for path in (kept.world.remote / "data/points").rglob("*.manifest")}
    kept.cli("forget", kept.world.points[2])
    for path, data in copies.items():
        path.write_bytes(data)
    kept.cli("rebuild")
    kept.check(0, 1, 3, 4, 5, 6)
    kept.cli("prune")
    assert len(kept.objects("points")) == POINTS - 1
    os.unlink(next(iter(sorted(copies))))
    kept.cli("prune", expect=7)


def test_an_unknown_object_among_the_manifests_is_named(kept):
    path = next((kept.world.remote / "data/points").iterdir()) / "x.manifest"
    path.write_bytes(b"")
    kept.cli("prune", expect=90)
