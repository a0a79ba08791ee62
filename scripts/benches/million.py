"""A million changes in one run, beside restic: scripts/bench million.

All that a run does behind `zfs diff` and `zfs send`, from their rows and records to the committed point, on
ordinary directories in memory. Every scenario has a process of its own: what is told is its largest RSS.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, process_time

from common import CHECKOUT, Figures, machine, restic, restic_version, say, sh
from usage import Used, measured

sys.path.insert(0, str(CHECKOUT / "tests"))
from mounted_world import World
from zdiffsync.backup.certificate import Certificate
from zdiffsync.backup.commit import Outcome, PointCommit
from zdiffsync.backup.excludes import Excludes
from zdiffsync.backup.increment import BasePaths
from zdiffsync.backup.reconcile import Reconciler
from zdiffsync.backup.since import weigh
from zdiffsync.catalog.catalog import Catalog
from zdiffsync.cli.context import App
from zdiffsync.cli.session import make_session
from zdiffsync.external.tree import Identity, Listed, SnapshotTree
from zdiffsync.external.zfs_diff import Diff, parse_row
from zdiffsync.format.manifest import Header, ManifestWriter, ObjectRecord, VersionRecord, read_manifest
from zdiffsync.format.send_stream import StreamObject

COUNT = 1_000_000
_SIZE = 200  # bytes of a file
_OLD_TXG, _NEW = 5, 10
_MOUNT = b"/tank/data"
_NOW = 1_764_000_000
SCENARIOS = {  # directories, whether the files were there before, whether they are there now
    "new in 1,000 directories": (1000, False, True),
    "new in one directory": (1, False, True),
    "modified": (1000, True, True),
    "deleted": (1000, True, False),
}
PEAK, SECONDS, CPU = "largest RSS, MiB", "seconds", "of them CPU"


class Tree(SnapshotTree):
    """A directory as a snapshot: an object's number follows from its path, so both sides have the same."""

    generation = 1

    def identity(self, path: bytes) -> Identity | None:
        """Ask the system as usual, for that takes its time, and answer by the path."""
        if super().identity(path) is None:
            return None
        return Identity(_number(path), self.generation if path else 1)

    def names(self, path: bytes) -> Iterator[Listed]:
        """List a directory."""
        above = path + b"/" if path else b""
        for item in super().names(path):
            yield Listed(item.name, _number(above + item.name), item.directory)


def _number(path: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(path, digest_size=6).digest(), "little")


def measure(home: Path, rounds: int, count: int = COUNT) -> tuple[Figures, str]:
    """Measure every scenario so many times; return the figures and what they were taken on."""
    figures = Figures((PEAK, SECONDS, CPU))
    shutil.rmtree(home)
    with tempfile.TemporaryDirectory(prefix="zdiffsync-bench.", dir="/dev/shm") as memory:
        for name in SCENARIOS:
            for _ in range(rounds):
                with _made(Path(memory), name, count) as (old, new):
                    said = sh(sys.executable, __file__, name, str(count), str(old), str(new))
                    for phase, of_phase in json.loads(said).items():
                        for side, figure in of_phase.items():
                            figures.add(f"{name}: {phase}", side, figure)
                    if SCENARIOS[name][2]:
                        for side, figure in _restic(Path(memory), old, new).items():
                            figures.add(f"{name}: restic", side, figure)
    home.mkdir()
    return figures, f"{count:,} files; {machine(restic_version())}"


@contextmanager
def _made(memory: Path, name: str, count: int) -> Iterator[tuple[Path, Path]]:
    """Make both trees of a scenario."""
    folders, before, now = SCENARIOS[name]
    old, new = memory / "old", memory / "new"
    say(f"making {count:,} files: {name}")
    for place, there in ((old, before), (new, now)):
        place.mkdir()
        for folder in range(folders if there else 0):
            path = place / f"folder{folder:04}"
            path.mkdir()
            for number in range(count // folders):
                (path / f"file{number:07}").write_bytes(os.urandom(_SIZE))
    try:
        yield old, new
    finally:
        shutil.rmtree(old)
        shutil.rmtree(new)


def _restic(memory: Path, old: Path, new: Path) -> dict[str, float]:
    """Let restic do the same job: back up the new tree, the old one being its parent."""
    peer, cache = memory / "peer", memory / "peer-cache"
    os.environ |= {
        "RESTIC_PASSWORD": "correct horse", "RESTIC_CACHE_DIR": str(cache),
        "RESTIC_FEATURES": "device-id-for-hardlinks=true",
    }  # fmt: skip
    command = restic(peer)
    sh(*command, "init")
    tree = memory / "tree"
    used = Used(0, 0, 0)
    for place in (each for each in (old, new) if any(each.iterdir())):  # restic refuses an empty tree
        place.rename(tree)
        used = measured([*command, "backup", "-q", "--group-by", "host,tags", "."], tree)
        tree.rename(place)
    for left in (peer, cache):
        shutil.rmtree(left)
    return {PEAK: used.memory, SECONDS: used.seconds, CPU: used.cpu}


class Phases:
    """Largest RSS (MiB) and seconds by phase."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, float]] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure the body of a `with`."""
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # largest RSS begins anew
        started, used = monotonic(), process_time()
        yield
        self.found[name] = {
            SECONDS: monotonic() - started, CPU: process_time() - used, PEAK: _largest()
        }  # fmt: skip


def _largest() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _lines(name: str, count: int) -> Iterator[bytes]:
    """Yield what `zfs diff` would print."""
    folders, before, now = SCENARIOS[name]
    kind = b"M" if before and now else b"+" if now else b"-"
    if kind != b"M":
        yield b"1.0\tM\t/\t" + _MOUNT + b"/"
    for folder in range(folders):
        above = _MOUNT + b"/folder%04d" % folder
        if kind != b"M":
            yield b"1.0\t%s\t/\t%s" % (kind, above)
        for number in range(count // folders):
            yield b"1.0\t%s\tF\t%s/file%07d" % (kind, above, number)


def _objects(name: str, count: int) -> Iterator[StreamObject]:
    """Yield what the send stream would hold."""
    folders, before, now = SCENARIOS[name]
    if not (before and now):
        yield StreamObject(_number(b""), directory=True, written=True, ctime_ns=_NOW * 10**9, links=2)
    for folder in range(folders if now else 0):
        above = b"folder%04d" % folder
        if not before:
            yield StreamObject(_number(above), directory=True, written=True, ctime_ns=_NOW * 10**9, links=2)
        for number in range(count // folders):
            yield StreamObject(
                _number(b"%s/file%07d" % (above, number)), directory=False, written=True, ranges=[(0, 512)],
                tail=512, ctime_ns=_NOW * 10**9, links=1, generation=_NEW,
            )  # fmt: skip


def _run(name: str, count: int, old_path: Path, new_path: Path) -> dict[str, dict[str, float]]:
    """Make one point out of the differences; return the phases."""
    phases = Phases()
    with tempfile.TemporaryDirectory(dir=old_path.parent) as home:
        world = World(Path(home, "ours"))
        app = App(world.config, no_progress=True)
        _first_point(world, old_path)
        Tree.generation = 1 if SCENARIOS[name][1] else _NEW
        with Tree(os.fsencode(old_path)) as old, Tree(os.fsencode(new_path)) as new, app.opened() as opened:
            session = make_session(app, opened)
            last = opened.catalog.points()[-1]
            header = _header(world, 1)
            with phases.phase("rows"):
                rows = tuple(row for line in _lines(name, count) if (row := parse_row(line, _MOUNT)))
            with phases.phase("certificate"):
                certificate = Certificate(_objects(name, count))
            with phases.phase("reconcile"):
                changes = Reconciler(
                    old, new, excludes=Excludes(), ledger={}, old_txg=_OLD_TXG, old_created_ns=1
                ).run(Diff(rows, None), certificate)
                del rows, certificate
            with phases.phase("tally and samples"):
                weigh(session, changes, old, new, None)
            with opened.catalog.view(last) as view, phases.phase("store and commit"):
                commit = PointCommit(
                    session, header, old=old, new=new, view=view,
                    base_path=BasePaths(view), last_numbers=(1, 0),
                )  # fmt: skip
                outcome = commit.commit(changes, lambda _outcome: {})
        _check(name, count, outcome)
        size = world.state.joinpath("catalog.sqlite").stat().st_size
        say(f"  catalog: {size / count:,.0f} bytes a change; manifest: {outcome.manifest / count:,.1f}")
    total = {side: sum(each[side] for each in phases.found.values()) for side in (SECONDS, CPU)}
    total[PEAK] = max(each[PEAK] for each in phases.found.values())
    return phases.found | {"all": total}


def _check(name: str, count: int, outcome: Outcome) -> None:
    _, before, now = SCENARIOS[name]
    done = outcome.point.modified if before and now else outcome.contents.files_stored
    done = done if now else outcome.point.names_removed
    assert done == count or not now, f"{name}: {outcome}"


def _header(world: World, sequence: int) -> Header:
    return Header(
        repository="0" * 32, chain=world.chain, first=sequence, sequence=sequence, point=f"{sequence:016x}",
        dataset=world.dataset, dataset_guid=1, host="host", snapshot=f"{world.dataset}@s{sequence}",
        guid=100 + sequence, createtxg=_OLD_TXG + sequence, created_ns=(_NOW + sequence) * 10**9,
        parent_guid=99 + sequence if sequence else None, restic=None,
        base_ns=None if sequence else _NOW * 10**9, excludes=Excludes().digest,
    )  # fmt: skip


def _first_point(world: World, old: Path) -> None:
    """Put a base into the catalog that holds nothing but the root: what is in it nobody will ask."""
    path = world.home / "base.manifest"
    with Tree(os.fsencode(old)) as tree, ManifestWriter(path, _header(world, 0)) as writer:
        writer.add(ObjectRecord(1, _number(b""), 1, b""))
        writer.add(VersionRecord(1, tree.entry(b""), None))
        writer.finish({})
    with Catalog(world.state / "catalog.sqlite") as catalog:
        catalog.apply(read_manifest(path))


if __name__ == "__main__":
    which, many, one, other = sys.argv[1:]
    sys.stdout.write(json.dumps(_run(which, int(many), Path(one), Path(other))) + "\n")
