"""recover.py alone: with Python's standard library, rclone, restic and zstd it restores every point."""

import json
import os
import random
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from clean_machine import CleanMachine
from mounted_world import World
from oracle import differences
from zdiffsync.format.delta_policy import DeltaPolicy
from zdiffsync.format.delta_table import decode_windows
from zdiffsync.format.manifest import ContentRecord, decode
from zdiffsync.format.windows import OpKind
from zdiffsync.format.zstd import compress, decompress
from zdiffsync.recovery import recover
from zdiffsync.store.names import ManifestName, pack_name
from zdiffsync.store.repository import open_repository

KIB, MIB = 1 << 10, 1 << 20
# A line so slow that bsdiff always pays.
SLOW_LINE = DeltaPolicy(window=256 * KIB, upload_bytes_per_second=1.0)


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A base and five increments; what each point holds lies in `world.expected`."""
    with pytest.MonkeyPatch.context() as patch:
        cache = os.environ.get("ZDIFFSYNC_CACHE") or Path.home() / ".cache/zdiffsync"
        patch.setenv("PATH", f"{os.environ['PATH']}:{cache}/bin")
        yield _world(tmp_path_factory.mktemp("recovered"))


def _world(home):
    rng = random.Random(3)
    world = World(home)
    root = world.tree
    (root / "docs/deep/er").mkdir(parents=True)
    (root / "docs/letter").write_bytes(b"dear all\n" * 100)
    (root / "docs/empty").touch()
    (root / "docs/deep/er/note").write_bytes(b"note\n")
    os.link(root / "docs/letter", root / "letter too")
    (root / "link").symlink_to(b"docs/\xfe".decode(errors="surrogateescape"))
    os.mkfifo(root / "fifo")
    os.mknod(root / "null", 0o020666, os.makedev(1, 3))
    for name in (b"inv\xff\nname", b" $HOME [a]*\\?! ", b"inv\xfe\nname"):
        with open(os.fsencode(root) + b"/docs/" + name, "wb") as file:
            file.write(name)
    with (root / "sparse").open("wb") as file:
        file.truncate(40 * MIB)
        file.seek(20 * MIB)
        file.write(rng.randbytes(2 << 16))
    (root / "image").write_bytes(rng.randbytes(6 * MIB))
    (root / "plain").write_bytes(rng.randbytes(3 * MIB))
    os.setxattr(root / "docs", "user.colour", b"\x00\xffgreen")
    subprocess.run(["setfacl", "-m", "u:1234:rw,m:rw", root / "docs/letter"], check=True)
    subprocess.run(["setfacl", "-d", "-m", "u:1234:rwx", root / "docs/deep"], check=True)
    os.chown(root / "docs/letter", 1000, 1001)
    os.chmod(root / "docs/deep/er", 0o2711)
    os.utime(root / "docs/deep", ns=(5, 123_456_789))
    os.utime(root / "link", ns=(5, -1_500_000_001), follow_symlinks=False)
    world.base()

    _relink(root / "image", MIB)
    (root / "docs/new").write_bytes(b"new")
    (root / "link").unlink()
    world.policy = SLOW_LINE
    world.increment(changed=["docs/new"], deltas=["image"], removed=["link"])
    world.policy = World.policy
    _flip(root / "image", rng, 2 * MIB, 300)
    _write(root / "image", 4 * MIB, bytes(MIB))
    (root / "docs/deep/er/note").write_bytes(b"note, changed\n")
    world.increment(changed=["docs/deep/er/note"], deltas=["image"])
    _write(root / "image", 0, rng.randbytes(200 * KIB) + b"inserted")
    (root / "docs/deep").rename(root / "docs/shallow")
    world.increment(deltas=["image"], renamed={"docs/deep": "docs/shallow"})
    _flip(root / "image", rng, 3 * MIB, 50)
    for number in range(4):
        (root / f"docs/large {number}").write_bytes(rng.randbytes(700_000))
    os.mkfifo(root / "docs/pipe")
    subprocess.run(["setfacl", "-m", "u:77:rw", root / "docs/new"], check=True)
    changed = [*(f"docs/large {number}" for number in range(4)), "docs/pipe", "docs/new"]
    world.increment(changed=changed, deltas=["image"])
    shutil.rmtree(root / "docs/shallow/er")
    world.increment(removed=["docs/shallow/er"])
    return world


def _relink(path, offset):
    """Change a byte in every 40 as a linker would: what bsdiff is good at."""
    data = bytearray(path.read_bytes())
    for at in range(offset, offset + 100 * KIB, 40):
        data[at] = (data[at] + 1) % 256
    _write(path, 0, data)


def _flip(path, rng, offset, count):
    data = bytearray(path.read_bytes())
    for _ in range(count):
        data[offset + rng.randrange(100 * KIB)] ^= 1 + rng.randrange(255)
    _write(path, 0, data)


def _write(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.fixture
def own(world, tmp_path):
    """A world whose remote a test may damage."""
    return world.copy(tmp_path / "own")


def machine(world, home, how="program"):
    return CleanMachine(home / "clean", world.remote, world.home / "password", how)


@pytest.fixture
def clean(world, tmp_path):
    return machine(world, tmp_path)


@pytest.fixture
def clean_of_own(own, tmp_path):
    return machine(own, tmp_path)


def expected(world, sequence):
    return world.expected / world.points[sequence]


def wrong(world, sequence, target):
    """Names that are not as they should be."""
    found = differences(expected(world, sequence), target)
    return {re.match(r"(?:missing: )?b'([^']*)'", line)[1] for line in found}


def failed(err):
    return set(re.findall(r"^FAILED (.*?): ", err, re.MULTILINE))


def manifest(world, sequence):
    """The lines of a point's manifest."""
    with open_repository(str(world.remote), world.secret) as repository:
        name = str(ManifestName(world.chain, sequence, sequence))
        return decompress(repository.store.data.read_all(name, 1 << 30), 1 << 30)


def rewrite(world, sequence, old=b"", new=b"", revision=0):
    """Store a point's manifest anew, with something replaced once."""
    lines = manifest(world, sequence)
    assert old in lines
    name = str(ManifestName(world.chain, sequence, sequence, revision))
    with open_repository(str(world.remote), world.secret) as repository:
        repository.store.data.delete([name])
        repository.store.data.put(name, compress(lines.replace(old, new, 1)))


def contents(world, sequence):
    """The contents that a point's manifest brings, in order."""
    records = map(decode, map(json.loads, manifest(world, sequence).splitlines()[1:-1]))
    return [record for record in records if isinstance(record, ContentRecord)]


def pack_path(world, pack):
    return world.remote / "data" / pack_name(pack)


@pytest.mark.parametrize("how", ["program", "module"])
def test_every_point_is_restored_on_a_machine_with_nothing_else(world, tmp_path, how):
    clean = machine(world, tmp_path, how)
    for sequence in range(len(world.points)) if how == "program" else (0, 4):
        target = tmp_path / f"to {sequence}"
        code, err = clean.restore(world.points[sequence], target)
        assert (code, failed(err)) == (0, set()), err
        assert differences(expected(world, sequence), target) == []


def test_the_points_have_deltas_of_all_kinds_over_several_depths(world):
    kinds, depths = Counter(), set()
    with open_repository(str(world.remote), world.secret) as repository:
        for sequence in range(len(world.points)):
            for content in contents(world, sequence):
                if content.windowed:
                    depths.add(content.depth)
                    blob = content.blob
                    table = repository.store.data.read(pack_name(blob.pack), blob.offset, blob.length)
                    kinds.update(op.kind for op in decode_windows(table))
    assert set(kinds) == set(OpKind)
    assert depths == {1, 2, 3, 4}


def test_points_and_directories_are_listed(world, clean):
    code, out, _ = clean.run("points")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == world.points
    assert all(line.endswith("tank/data") for line in out.splitlines()[1:])
    code, out, err = clean.run("ls", world.points[4], "docs")
    assert (code, err) == (0, "")
    names = {os.fsdecode(name) for name in os.listdir(os.fsencode(expected(world, 4)) + b"/docs")}
    assert sorted(line[38:] for line in out.splitlines()) == sorted(
        map(recover.shown, map(os.fsencode, names))
    )
    assert re.search(r"^f +700,000 [0-9-]{10} [0-9:]{8} large 0$", out, re.MULTILINE)
    assert re.search(r"^d +0 [0-9-]{10} [0-9:]{8} shallow$", out, re.MULTILINE)


@pytest.mark.parametrize(
    "path", ["docs", "docs/shallow", "docs/shallow/er/note", "image", "docs/inv\udcff\nname", "fifo"]
)
def test_a_single_path_is_restored(world, tmp_path, clean, path):
    code, err = clean.restore(world.points[4], tmp_path / "to", path)
    assert code == 0, err
    name = path.rpartition("/")[2]
    assert os.listdir(tmp_path / "to") == [name]
    place = expected(world, 4) / path
    (tmp_path / "want").mkdir()
    subprocess.run(["cp", "-a", place, tmp_path / "want"], check=True)
    found = differences(tmp_path / "want", tmp_path / "to")
    assert [line for line in found if not line.startswith("b'' mtime_ns")] == []


def test_a_dataset_means_its_newest_point(world, tmp_path, clean):
    code, _, _ = clean.run("restore", "tank/data", "--to", str(tmp_path / "to"))
    assert code == 0
    assert differences(expected(world, 5), tmp_path / "to") == []


@pytest.mark.parametrize("path", ["docs/nothing", "link", "image/below"])
def test_a_path_that_the_point_lacks_is_said_to_be_missing(world, tmp_path, clean, path):
    code, err = clean.restore(world.points[4], tmp_path / "to", path)
    assert code == 2
    assert f"recover: the point has no {path}" in err
    assert os.listdir(tmp_path / "to") == [] if (tmp_path / "to").exists() else True


def test_a_damaged_pack_costs_what_lies_in_it_and_names_it(own, tmp_path, clean_of_own):
    first = next(record.blob for record in contents(own, 4) if record.size == 700_000)
    path = pack_path(own, first.pack)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    code, err = clean_of_own.restore(own.points[4], tmp_path / "to")
    assert code == 1
    names = failed(err)
    assert names
    assert wrong(own, 4, tmp_path / "to") == names
    assert first.pack in err


@pytest.mark.parametrize("cut", ["gone", "short"])
def test_a_pack_that_is_gone_or_cut_costs_what_lay_there(own, tmp_path, clean_of_own, cut):
    pack = next(record.blob.pack for record in contents(own, 4) if record.size == 700_000)
    path = pack_path(own, pack)
    if cut == "gone":
        path.unlink()
    else:
        with path.open("r+b") as file:
            file.truncate(32 + 3 * (64 * KIB + 16))  # a cut between crypt's blocks looks whole to it
    code, err = clean_of_own.restore(own.points[4], tmp_path / "to")
    assert code == 1
    assert failed(err)
    assert wrong(own, 4, tmp_path / "to") - {r"docs/large 0"} <= failed(err)
    assert pack in err


def test_what_restic_cannot_read_is_named_and_the_rest_restored(own, tmp_path, clean_of_own):
    largest = max((own.remote / "restic/data").rglob("*/*"), key=lambda path: path.stat().st_size)
    with largest.open("r+b") as file:
        file.seek(largest.stat().st_size // 2)
        file.write(bytes(1000))
    code, err = clean_of_own.restore(own.points[0], tmp_path / "to")
    assert code == 1, err
    assert failed(err)
    assert wrong(own, 0, tmp_path / "to") == failed(err)
    assert "restic says" in err


def test_a_wrong_password_is_one_sentence(tmp_path, clean):
    (tmp_path / "password").write_text("wrong horse\n")
    code, out, err = clean.run("points", password=tmp_path / "password")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith(f"recover: the password in {tmp_path}/password does not open the backup at ")


def test_where_there_is_no_backup_it_says_so(world, tmp_path, clean):
    code, _, err = clean.run("points", password=tmp_path / "none")
    assert code == 2
    assert "No such file or directory" in err
    shutil.copytree(world.remote, tmp_path / "remote")
    (tmp_path / "remote/zdiffsync.json").unlink()
    code, _, err = clean.run("points", remote=tmp_path / "remote")
    assert code == 2
    assert "there is no zdiffsync backup at" in err


def test_without_a_program_it_stops_and_then_goes_on(world, tmp_path, clean):
    for name, words in (
        ("zstd", "zstd is missing"),
        ("rclone", "rclone cannot be started"),
        ("restic", "restic"),
    ):
        (clean.bin / name).rename(clean.bin / "hidden")
        code, err = clean.restore(world.points[2], tmp_path / "to")
        assert code == 2
        assert f"recover: {words}" in err
        (clean.bin / "hidden").rename(clean.bin / name)
    assert clean.restore(world.points[2], tmp_path / "to")[0] == 0
    assert differences(expected(world, 2), tmp_path / "to") == []


def test_it_does_not_write_among_files_that_are_there(world, tmp_path, clean):
    target = tmp_path / "to"
    target.mkdir()
    (target / "docs").touch()
    assert clean.restore(world.points[2], target)[0] == 2
    assert clean.restore(world.points[2], target, "docs")[0] == 2
    assert clean.restore(world.points[2], target, "fifo")[0] == 0
    assert sorted(os.listdir(target)) == ["docs", "fifo"]


def test_bytes_known_to_be_lost_are_named(own, tmp_path, clean_of_own):
    rewrite(own, 4, b'"blob":[', b'"blob":null,"was":[')
    code, err = clean_of_own.restore(own.points[4], tmp_path / "to")
    assert code == 1
    assert "FAILED docs/large 0: its bytes are known to be lost" in err
    assert wrong(own, 4, tmp_path / "to") == failed(err)


def test_a_gap_in_a_chain_costs_what_comes_after_it(own, tmp_path, clean_of_own):
    (own.remote / f"data/points/{own.chain}/000003-000003.0.manifest").unlink()
    code, out, err = clean_of_own.run("points")
    assert code == 1
    assert [line.split()[0] for line in out.splitlines()[1:]] == own.points[:3]
    assert f"FAILED the points of chain {own.chain} from 000004-000004.0.manifest on" in err
    assert clean_of_own.restore(own.points[2], tmp_path / "to")[0] == 1
    assert differences(expected(own, 2), tmp_path / "to") == []


def test_superseded_manifests_are_ignored(own, clean_of_own):
    rewrite(own, 2, revision=3)
    rewrite(own, 2, b'"end"', b'"damaged"', revision=1)
    code, out, err = clean_of_own.run("points")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[1:]] == own.points


def test_what_a_broken_upload_left_does_not_take_the_place_of_others(own, clean_of_own):
    with open_repository(str(own.remote), own.secret) as repository:
        data = repository.store.data
        whole = data.read_all(str(ManifestName(own.chain, 2, 2)), 1 << 20)
        data.put(str(ManifestName(own.chain, 0, 2)), whole[: len(whole) // 2])
    code, out, err = clean_of_own.run("points")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[1:]] == own.points


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"end"', b'"damaged"'),
        (b'"sequence":1', b'"sequence":7'),
        (b'"manifest":2', b'"manifest":3'),
        (b'"name":"new"', b'"name":"../new"'),
        (b'"type":"f"', b'"type":"x"'),
    ],
)
def test_a_manifest_that_is_not_right_is_no_point(own, tmp_path, clean_of_own, old, new):
    rewrite(own, 1, old, new)
    code, err = clean_of_own.restore(own.points[1], tmp_path / "to")
    assert code == 2
    assert err.count("\n") <= 2
    code, out, _ = clean_of_own.run("points")
    assert own.points[0] in out
