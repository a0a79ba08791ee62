"""The promises of the design, held against a world after everything has been put right again.

Rule: looks at the remote, ZFS and the disk themselves and never asks the program, but for restoring.
"""

import hashlib
import io
import json
import os
import re
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sim_tree
from sim_world import World

import oracle
from zdiffsync.cli.main import invoke
from zdiffsync.errors import ZdiffsyncError
from zdiffsync.format.manifest import Header, PackRecord, Summary, read_manifest
from zdiffsync.store.names import pack_name


@dataclass(slots=True)
class Manifest:
    """One manifest as it lies on the remote."""

    name: str
    header: Header
    packs: list[PackRecord]
    stats: dict[str, Any]


@dataclass(slots=True)
class Facts:
    """What a process that ended left: the unfinished run and the packs noted for it, and what is committed.

    `committed` are the snapshots (by guid) of which there are points.
    Two worlds of the same `state` differ in nothing a later command could see.
    """

    committed: set[int] = field(default_factory=set)
    unfinished: dict[str, dict[str, Any]] = field(default_factory=dict)
    state: str = ""


def manifests(world: World) -> tuple[list[Manifest], list[str]]:
    """Return the manifests that can be read, and the names of those that cannot."""
    found, broken = [], []
    path = world.home / "tmp" / "looked at"
    for name, data in sorted(world.remote.objects.items()):
        if not name.startswith("data/points/") or name.endswith(".partial"):
            continue
        path.write_bytes(data)
        try:
            header, *records = list(read_manifest(path))
        except ZdiffsyncError:
            broken.append(name)
            continue
        packs = [each for each in records if isinstance(each, PackRecord)]
        assert isinstance(header, Header)
        assert isinstance(records[-1], Summary)
        found.append(Manifest(name, header, packs, records[-1].stats))
    path.unlink(missing_ok=True)
    return found, broken


def facts(world: World) -> Facts:
    """Return what is there now."""
    found = Facts({each.header.guid for each in _current(manifests(world)[0])})
    state = hashlib.sha256(repr([*_outside(world), *_on_disk(world.home)]).encode())
    for name, connection in _catalogs(world.home):
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in sorted(tables):
            rows = connection.execute(f"SELECT * FROM {table}").fetchall()
            state.update(repr((name, table, rows)).encode())
        if name == "catalog.sqlite" and "run" in tables:
            for dataset, guid, restic in connection.execute("SELECT dataset, guid, restic FROM run"):
                noted = connection.execute(
                    "SELECT record FROM journal WHERE dataset = ? AND zfs_object IS NULL", (dataset,)
                )
                packs = {json.loads(row[0])["pack"] for row in noted}
                found.unfinished[dataset] = {"guid": int(guid), "restic": restic, "packs": packs}
    found.state = state.hexdigest()
    return found


def _catalogs(home: Path) -> Iterator[tuple[str, sqlite3.Connection]]:
    """Open copies of the catalogs: looking at one must not mend what a kill has left."""
    with tempfile.TemporaryDirectory(dir=home.parent) as folder:
        for path in home.glob("state/catalog.sqlite*"):
            if not path.name.endswith("-shm"):
                shutil.copy(path, folder)
        for path in sorted(Path(folder).iterdir()):
            if not path.name.endswith("-wal"):
                with closing(sqlite3.connect(path)) as connection:
                    yield path.name, connection


def _outside(world: World) -> Iterator[object]:
    remote = world.remote
    yield sorted(remote.objects.items()), sorted(remote.late.items()), sorted(remote.blind)
    for name, dataset in sorted(world.zfs.datasets.items()):
        yield name, [(snap.label, snap.guid, sorted(snap.holds)) for snap in dataset.snapshots]


def _on_disk(home: Path) -> Iterator[object]:
    """Yield what a restore has written, and what runs have left for their next attempt."""
    for folder in "target", "state/staging":
        for place, names, files in os.walk(home / folder):
            names.sort()
            shown = re.sub("/run-[^/]*", "/run", place)
            info = os.lstat(place)
            yield shown, info.st_mode, info.st_uid, len(os.listxattr(place))
            for name in sorted(files):
                path = Path(place, name)
                info = path.lstat()
                content = path.read_bytes() if stat.S_ISREG(info.st_mode) and name != "lock" else b""
                yield name, info.st_mode, info.st_uid, info.st_nlink, content


def _current(found: list[Manifest]) -> list[Manifest]:
    """Leave out manifests that another takes the place of: of the same range by revision, else by range."""

    def place(each: Manifest) -> tuple[str, int, int, int]:
        first, last = each.name.rpartition("/")[2].split(".")[0].split("-")
        return each.name.rpartition("/")[0], int(first), int(last), int(each.name.split(".")[-2])

    def replaced(each: Manifest, other: Manifest) -> bool:
        (chain, first, last, revision), (chain2, first2, last2, revision2) = place(each), place(other)
        if chain != chain2 or not first2 <= first <= last <= last2:
            return False
        return (first, last) != (first2, last2) or revision2 > revision

    return [each for each in found if not any(replaced(each, other) for other in found)]


class Check:
    """One look at a world; `problems` are the promises that are broken."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.problems: list[str] = []
        readable, broken = manifests(world)
        self.found = _current(readable)
        again = {re.sub(r"\.\d+\.manifest$", "", each.name) for each in self.found}
        self.problems += [
            f"{name} cannot be read" for name in broken if re.sub(r"\.\d+\.manifest$", "", name) not in again
        ]

    def committed(self, before: Facts) -> None:
        """A committed point stays; every manifest names packs that are there, whole and right."""
        gone = before.committed - {each.header.guid for each in self.found}
        self.problems += [f"the point of snapshot {guid} is gone" for guid in gone]
        objects = self.world.remote.objects
        for each in self.found:
            for pack in each.packs:
                data = objects.get(f"data/{pack_name(pack.pack)}")
                if data is None or (len(data), hashlib.sha256(data).hexdigest()) != (pack.size, pack.sha256):
                    self.problems.append(
                        f"pack {pack.pack} of {each.name} is missing or not what was written"
                    )
            restic = each.header.restic
            if restic is not None and f"restic/snapshots/{restic}" not in objects:
                self.problems.append(f"the restic snapshot of {each.name} is missing")

    def known(self) -> None:
        """The catalog has the points that the remote has."""
        points = {
            row[0]
            for name, connection in _catalogs(self.world.home) if name == "catalog.sqlite"
            for row in connection.execute("SELECT key FROM point")
        }  # fmt: skip
        if points != {each.header.point for each in self.found}:
            there = {each.name: each.header.point for each in self.found}
            self.problems.append(f"the catalog has {points}, the remote has {there}")

    def held(self) -> None:
        """Of our snapshots those of the last points are there, held; strangers' are untouched."""
        for name, dataset in self.world.zfs.datasets.items():
            points = [each.header for each in self.found if each.header.dataset == name]
            if not points:
                continue
            last = max(points, key=lambda header: (header.created_ns, header.createtxg))
            ours = {snap.guid: snap for snap in dataset.snapshots if snap.owner == last.repository}
            if ours.keys() != {last.guid}:
                self.problems.append(f"{name} has our snapshots {list(ours)}, its last point is {last.guid}")
            self.problems += [f"{snap.label} is not held" for snap in ours.values() if not snap.holds]
            strangers = {snap.label for snap in dataset.snapshots if snap.owner != last.repository}
            if strangers != {"manual", "other"}:
                self.problems.append(f"of the snapshots of others {strangers} are left")

    def tidy(self) -> None:
        """Nothing of broken-off runs lies about."""
        staging = self.world.home / "state" / "staging"
        left = [each.name for each in staging.iterdir()] if staging.exists() else []
        if left:
            self.problems.append(f"left in the staging folder: {left}")

    def resumed(self, before: Facts) -> None:
        """What a broken-off run had stored is not stored again."""
        for run in before.unfinished.values():
            for each in self.found:
                if each.header.guid != run["guid"] or each.header.guid in before.committed:
                    continue
                named = {pack.pack for pack in each.packs}
                if not run["packs"] <= named:
                    self.problems.append(f"{each.name} does not use {run['packs'] - named} again")
                if run["restic"] not in (None, each.header.restic):
                    self.problems.append(f"{each.name} does not use the finished base again")

    def freed(self) -> None:
        """Nothing lies on the remote that no point needs."""
        named = {f"data/{pack_name(pack.pack)}" for each in self.found for pack in each.packs}
        named |= {each.name for each in self.found}
        named |= {f"restic/snapshots/{each.header.restic}" for each in self.found}
        there = [
            name for name in self.world.remote.objects
            if name.startswith(("data/packs/", "data/points/", "restic/snapshots/", "data/condemned/"))
        ]  # fmt: skip
        self.problems += [f"{name} is still there" for name in there if name not in named]

    def restores(self, chosen: Callable[[Manifest], bool] = lambda _each: True) -> None:
        """Every point comes back as its snapshot was."""
        for each in self.found:
            if chosen(each):
                self.problems += self._restore(each)

    def _restore(self, each: Manifest) -> list[str]:
        target = self.world.home / "restored"
        answer = _answer("restore", each.header.point, "--to", str(target), "--no-local", world=self.world)
        if answer["exit_code"]:
            return [f"restoring {each.name} says {answer}"]
        found = compare(self.world, each.header.guid, target)
        shutil.rmtree(target)
        return [f"{each.name}: {line}" for line in found]


def compare(world: World, guid: int, target: Path) -> list[str]:
    """Return what is different between a snapshot and a directory."""
    expected, there = sim_tree.states(world.zfs.history[guid]), oracle.states(str(target))
    return [
        f"{path!r}: {there.get(path)} instead of {expected.get(path)}"
        for path in sorted(expected.keys() | there.keys())
        if expected.get(path) != there.get(path)
    ]


def _answer(*arguments: str, world: World) -> dict[str, Any]:
    out = io.StringIO()
    with redirect_stdout(out):
        code = invoke(["-v", "-c", f"{world.home}/config.toml", "--json", *arguments])
    answer: dict[str, Any] = {"exit_code": code} | json.loads(out.getvalue() or "{}")
    return answer
