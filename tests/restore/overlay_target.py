"""A target directory that is filled from a catalog alone: trees of overlay objects, their bytes in memory."""

import os
from contextlib import contextmanager

from zdiffsync.catalog.catalog import Catalog
from zdiffsync.format.manifest import ContentRecord, Header, NameRecord, ObjectRecord, Summary, VersionRecord
from zdiffsync.format.windows import BlobRef
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.restore.assemble import Assembler
from zdiffsync.restore.contents import MemorySource
from zdiffsync.restore.metadata import apply_metadata
from zdiffsync.restore.overwrite import Overwrite
from zdiffsync.restore.report import RestoreReport
from zdiffsync.restore.staging import opened_staging, staging_folder
from zdiffsync.restore.walk import Walk

TIME = 1_600_000_000_123_456_789
CONTENTS = {1: b"one", 2: b"two, longer", 3: b"\0" * (4 << 20) + b"end" + b"\0" * (5 << 20)}
ROOT = [
    *(
        ContentRecord(number, len(data), "", False, BlobRef("", 0, 1), {})
        for number, data in CONTENTS.items()
    ),
    ObjectRecord(1, 34, 1, b""),
    VersionRecord(1, Entry(EntryType.DIRECTORY, 0o755, os.getuid(), os.getgid(), TIME), None),
]


def file(number, name, content=1, parent=1, **more):
    size = len(CONTENTS[content]) if content else 0
    values = {"mode": 0o640, "uid": os.getuid(), "gid": os.getgid(), "mtime_ns": TIME, "size": size} | more
    return [*thing(number, name, EntryType.FILE, parent, **values), content]


def thing(number, name, kind, parent=1, **more):
    values = {"mode": 0o700, "uid": os.getuid(), "gid": os.getgid(), "mtime_ns": TIME} | more
    return [number, name, parent, Entry(kind, **values)]


def directory(number, name, parent=1):
    return thing(number, name, EntryType.DIRECTORY, parent)


def records(*things):
    for number, name, parent, entry, *content in things:
        yield ObjectRecord(number, 100 + number, 1, None)
        yield VersionRecord(number, entry, content[0] if content else None)
        yield NameRecord(parent, name, number)


class NoBase:
    """A base that holds nothing."""

    @staticmethod
    def directory(_snapshot, _path):
        return {}

    @staticmethod
    def node(_snapshot, _path):
        return None


class OverlayTarget:
    """Fills `home/target` each time it is called; returns the report."""

    def __init__(self, home):
        self.home, self.target = home, home / "target"
        self.made = 0

    @property
    def staging(self):
        """Where the next restore keeps what it has."""
        return staging_folder(self.target, f"point{self.made + 1}", b"")

    def __call__(self, *things, overwrite=Overwrite.NEVER, extra=(), path=b"", contents=CONTENTS):
        staging = self.staging
        self.made += 1
        header = Header(
            "r", f"chain{self.made}", 0, 0, f"point{self.made}", "d", 1, "h", "d@s", 1, 1, 1, None, "restic",
            1, "e",
        )  # fmt: skip
        report = RestoreReport()
        with Catalog(self.home / "catalog.sqlite") as catalog:
            catalog.apply([header, *ROOT, *records(*things), *extra, Summary({})])
            self.target.mkdir(exist_ok=True)
            point = next(p for p in catalog.points() if p.key == header.point)
            with opened(self.target) as fd, catalog.view(point) as view:
                walk = Walk(view, NoBase(), point)
                with (
                    opened_staging(fd, staging) as stage,
                    Assembler(
                        walk, lambda found: lambda: (source(contents, found), None), stage, None, fd,
                        overwrite=overwrite, report=report, progress=lambda _done: None, threads=3,
                    ) as assembler,
                ):  # fmt: skip
                    found = walk.find(path)
                    if path:
                        assembler.place(found, b"", found.name)
                    else:
                        assembler.fill(found)
                if not path:
                    apply_metadata(fd, b".", found.entry, report.warn)
        return report


def source(contents, found):
    return MemorySource(contents[found.content] if found.content else b"")


@contextmanager
def opened(directory):
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)
