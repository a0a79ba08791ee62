"""1,000 points of 1,000 changes each: scripts/bench catalog.

Their manifests are made up and uploaded as a run would; then `rebuild` reads them all, and commands that look
at points are measured as whole processes, started anew each time.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

from common import CHECKOUT, ZDIFFSYNC, Figures, machine, say
from usage import measured

sys.path.insert(0, str(CHECKOUT / "tests"))
from mounted_world import World
from zdiffsync.format.manifest import (
    ContentRecord,
    Header,
    ManifestWriter,
    NameRecord,
    ObjectRecord,
    PackRecord,
    Record,
    VersionRecord,
)
from zdiffsync.format.windows import BlobRef
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.store.names import ManifestName, new_pack_id
from zdiffsync.store.repository import open_repository

POINTS = 1000
NEW, MODIFIED, REMOVED = 300, 600, 100  # a point
FOLDERS = 200
LOG = "folder000/log"  # changes at every point
MILLISECONDS, CPU, MEMORY = "ms", "of it CPU, ms", "largest RSS, MiB"
_NOW = 1_764_000_000


def measure(home: Path, rounds: int) -> tuple[Figures, str]:
    """Measure so many rounds; return the figures and what they were taken on."""
    world = World(home / "ours")
    say(f"making {POINTS:,} points")
    _Writer(world).write()
    figures = Figures((MILLISECONDS, CPU, MEMORY))
    program = [ZDIFFSYNC, "-c", str(world.config), "--no-progress"]
    for _ in range(rounds):
        _measure(figures, "rebuild", [*program, "rebuild"])
        for name, arguments in _commands(world).items():
            _measure(figures, name, [*program, *arguments])
        for name, code in (
            ("(Python starting)", "pass"),
            ("(and importing SQLAlchemy)", "import sqlalchemy.orm"),
        ):
            _measure(figures, name, [sys.executable, "-c", code])
    size = world.state.joinpath("catalog.sqlite").stat().st_size / (POINTS * (NEW + MODIFIED + REMOVED))
    return figures, f"{size:,.0f} bytes of catalog a change; {machine()}"


def _commands(world: World) -> dict[str, list[str]]:
    first, half, before, last = (world.points[number] for number in (1, POINTS // 2, -2, -1))
    return {
        "points": ["points"],
        "ls of a directory": ["ls", "-l", f"{half}:folder007"],
        "history of a file with 999 versions": ["history", LOG],
        "history of a file with few": ["history", "folder007/file000008"],
        "find by name": ["find", "--name", "file000008"],
        "find by pattern in all points": ["find", "*00008"],
        "diff of two neighbours": ["diff", before, last],
        "diff of the first and the last": ["diff", "--stat", first, last],
    }


def _measure(figures: Figures, name: str, command: list[str]) -> None:
    used = measured(command)
    figures.add(name, MILLISECONDS, 1000 * used.seconds)
    figures.add(name, CPU, 1000 * used.cpu)
    figures.add(name, MEMORY, used.memory)


class _Writer:
    """Makes up the points; what is where it keeps itself."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = random.Random(5)
        self._objects = self._contents = 0
        self._files: list[tuple[int, int, bytes]] = []  # object, parent, name
        self._folders: list[int] = []

    def write(self) -> None:
        """Upload all manifests."""
        stage = self._world.home / "manifests"
        names = []
        for sequence in range(POINTS):
            name = str(ManifestName(self._world.chain, sequence, sequence))
            path = stage / name
            path.parent.mkdir(parents=True, exist_ok=True)
            header = self._header(sequence)
            self._world.points.append(header.point)
            with ManifestWriter(path, header) as writer:
                for record in self._base(header) if sequence == 0 else self._increment(header):
                    writer.add(record)
                writer.finish({"created": NEW, "modified": MODIFIED, "names_removed": REMOVED})
            names.append(name)
        with open_repository(str(self._world.remote), self._world.secret) as repository:
            repository.store.data.upload(stage, names, lambda _sent: None)

    def _header(self, sequence: int) -> Header:
        now = (_NOW + 86400 * (sequence - POINTS)) * 10**9
        return Header(
            repository="0" * 32, chain=self._world.chain, first=sequence, sequence=sequence,
            point=f"{self._random.getrandbits(64):016x}", dataset="tank/data", dataset_guid=1, host="host",
            snapshot=f"tank/data@s{sequence}", guid=100 + sequence, createtxg=sequence + 1, created_ns=now,
            parent_guid=99 + sequence if sequence else None, restic=None, base_ns=None if sequence else now,
            excludes="0" * 16,
        )  # fmt: skip

    def _base(self, header: Header) -> Iterator[Record]:
        """Yield the root, and directories."""
        yield from self._directory(header, b"")
        for number in range(FOLDERS):
            yield from self._directory(header, b"folder%03d" % number)
            self._folders.append(self._objects)
            yield NameRecord(1, b"folder%03d" % number, self._objects)

    def _directory(self, header: Header, path: bytes) -> Iterator[Record]:
        self._objects += 1
        entry = Entry(EntryType.DIRECTORY, 0o755, 1000, 1000, header.created_ns)
        yield ObjectRecord(self._objects, 30 + self._objects, 1, path or None if path else b"")
        yield VersionRecord(self._objects, entry, None)

    def _increment(self, header: Header) -> Iterator[Record]:
        pack, offset = new_pack_id(), 8
        yield PackRecord(pack, 8 + 1000 * (NEW + MODIFIED), "0" * 64)
        for number in range(NEW + MODIFIED):
            self._contents += 1
            size = self._random.randrange(100, 100_000)
            blob = BlobRef(pack, offset, 1000)
            digest = f"{self._random.getrandbits(256):064x}"
            yield ContentRecord(
                self._contents, size, digest, windowed=False, blob=blob, packs={pack: blob.length}
            )
            offset += 1000
            entry = Entry(EntryType.FILE, 0o644, 1000, 1000, header.created_ns - number, size=size)
            if number < NEW:
                yield from self._new(header, number)
            changed = self._files[self._pick(number)][0]
            yield VersionRecord(changed, entry, self._contents)
        for _ in range(REMOVED):
            _, parent, name = self._files.pop(self._random.randrange(1, len(self._files) - 1))
            yield NameRecord(parent, name, None)

    def _pick(self, number: int) -> int:
        """Return which file has another version: the new one, that which always has, or any."""
        if number < NEW:
            return -1
        return 0 if number == NEW else number * 7919 % len(self._files)

    def _new(self, header: Header, number: int) -> Iterator[Record]:
        self._objects += 1
        yield ObjectRecord(self._objects, 30 + self._objects, header.createtxg, None)
        folder = self._folders[number % FOLDERS]
        name = b"file%06d" % self._contents if self._files else b"log"
        self._files.append((self._objects, folder, name))
        yield NameRecord(folder, name, self._objects)
