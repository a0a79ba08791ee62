"""Manifests, damaged below their checksum: refused, or a point that can be walked, read and shown."""

import json
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given

from mutations import damaged_json, fuzz, mutated, refused
from zdiffsync.catalog.apply import apply_manifest
from zdiffsync.catalog.catalog import Catalog
from zdiffsync.catalog.timeline import ChainRows
from zdiffsync.catalog.view import PointView
from zdiffsync.cli.points import _changes
from zdiffsync.format.manifest import (
    FORMAT,
    ContentRecord,
    Header,
    LinksRecord,
    ManifestWriter,
    NameRecord,
    ObjectRecord,
    PackRecord,
    Summary,
    VersionRecord,
    encode,
    read_manifest,
)
from zdiffsync.format.windows import BlobRef
from zdiffsync.format.zstd import ZstdFile
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.restore.contents import ContentReader
from zdiffsync.restore.tree import PointTree
from zdiffsync.restore.walk import Walk

PACK = "ab" * 16
STATS = {
    "files_total": 5, "bytes_total": 100, "created": 1, "modified": 2, "metadata_only": 0, "names_removed": 1,
    "uploaded_bytes": 50, "quiet": [7], "skipped_paths": ["61ff"], "seconds": {"diff": 0.5},
}  # fmt: skip
ROOT, FOLDER, OTHER, FILE, LARGE, LINK, NEW = 1, 2, 3, 4, 5, 6, 7
BASE = [
    PackRecord(PACK, 1 << 20, "c" * 64),
    ContentRecord(1, 4, "d" * 64, False, BlobRef(PACK, 8, 13), {PACK: 13}),
    ContentRecord(2, 4 << 20, "e" * 64, True, BlobRef(PACK, 21, 13), {PACK: 99}, 0, b"dir/large", 1),
    ObjectRecord(ROOT, 34, 1, b""),
    ObjectRecord(FOLDER, 40, 1, b"dir"),
    ObjectRecord(FILE, 41, 1, None),
    ObjectRecord(LARGE, 42, 1, b"dir/large"),
    VersionRecord(ROOT, Entry(EntryType.DIRECTORY, 0o755, 0, 0, 5), None),
    VersionRecord(FOLDER, Entry(EntryType.DIRECTORY, 0o755, 0, 0, 5), None),
    VersionRecord(FILE, Entry(EntryType.FILE, 0o644, 0, 0, 5, 4, xattrs=((b"user.k", b"v"),)), 1),
    VersionRecord(LARGE, Entry(EntryType.FILE, 0o644, 0, 0, 5, 4 << 20), 2),
    NameRecord(ROOT, b"dir", FOLDER),
    NameRecord(FOLDER, b"file", FILE),
    NameRecord(FOLDER, b"large", LARGE),
]
INCREMENT = [
    ContentRecord(3, 4 << 20, "f" * 64, True, BlobRef(PACK, 100, 13), {PACK: 99}, 2, None, 2),
    ObjectRecord(OTHER, 43, 1, None),
    ObjectRecord(LINK, 44, 1, None),
    ObjectRecord(NEW, 45, 1, None),
    VersionRecord(OTHER, Entry(EntryType.DIRECTORY, 0o700, 1, 1, -5), None),
    VersionRecord(LARGE, Entry(EntryType.FILE, 0o600, 0, 0, 6, 4 << 20), 3),
    VersionRecord(LINK, Entry(EntryType.SYMLINK, 0o777, 0, 0, 6, target=b"dir/file"), None),
    VersionRecord(NEW, Entry(EntryType.BLOCK, 0o600, 0, 0, 6, rdev=5), None),
    NameRecord(ROOT, b"other", OTHER),
    NameRecord(ROOT, b"dir", None),
    NameRecord(OTHER, b"moved", FOLDER),
    NameRecord(FOLDER, b"hard", FILE),
    NameRecord(ROOT, b"lin\xffk", LINK),
    NameRecord(ROOT, b"node", NEW),
    LinksRecord(41, 1, (b"dir/file", b"other/moved/hard")),
]


def header(sequence, chain="cd" * 8):
    return Header(
        repository="ab" * 16, chain=chain, first=sequence, sequence=sequence,
        point=f"{chain[:8]}{sequence:08x}", dataset="tank/data", dataset_guid=2**64 - 1,
        host="host", snapshot="tank/data@z", guid=2**63 + 5, createtxg=77,
        created_ns=1795426656_000000000 + sequence, parent_guid=None, restic=None,
        base_ns=None if sequence else 1795426656_000000000, excludes="34" * 8, tags=("t",), keep=False,
    )  # fmt: skip


def lines(head, records):
    return [
        {"manifest": FORMAT, **asdict(head)},
        *(encode(record) for record in records),
        {"end": len(records), "stats": STATS},
    ]


class NoBase:
    """A base that holds nothing."""

    def directory(self, _snapshot, _path):
        return {}

    node = tree = directory


class Uncommitted:
    """Stands in for an engine, to see what is not committed."""

    def __init__(self, connection):
        self.connection = connection

    def connect(self):
        return nullcontext(self.connection)


class Place:
    """A folder, and a catalog that has the base; what is applied to it is taken out again."""

    def __init__(self, folder, catalog):
        self.folder, self.catalog = folder, catalog

    def apply(self, path):
        catalog = self.catalog
        with catalog._engine.connect() as connection:
            apply_manifest(connection, read_manifest(path))
            engine, catalog._engine = catalog._engine, Uncommitted(connection)
            try:
                for point in catalog.points():
                    _changes(point)
                    show(connection, point)
            finally:
                catalog._engine = engine
                connection.rollback()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    with Catalog(folder / "catalog") as catalog:
        catalog.apply([header(0), *BASE, Summary(STATS)])
        yield Place(folder, catalog)


def show(connection, point):
    """Go through all of a point as ls, restore and history do."""
    view = PointView(connection, point.chain_id, point.sequence)
    walk = Walk(view, NoBase(), point)
    top = walk.find(b"")
    if top is None:
        return
    reader = ContentReader(view, None, None)
    for found in walk.below(top):
        assert found.name not in {b"", b".", b".."}
        assert b"\0" not in found.path
        assert PointTree(view, NoBase(), point).find(found.path) is not None
        view.paths(found.node)
        if found.content:
            for record in reader.records(found.content):
                assert record.blob is None or record.blob.length > 0
    rows = ChainRows(connection, point.chain_id)
    rows.touched(0, point.sequence)
    rows.overlaid()


def write(path, values):
    with ZstdFile(path, "wb") as file:
        for value in values:
            line = json.dumps(value).encode()
            file.write(line + b"\n")
    return path


def whole(path, head, records):
    with ManifestWriter(path, head) as writer:
        for record in records:
            writer.add(record)
        writer.finish(STATS)
    return path.read_bytes()


with TemporaryDirectory() as home:
    INCREMENT_FILE = whole(Path(home, "m"), header(1), INCREMENT)
    BASE_FILE = whole(Path(home, "m"), header(0, "ef" * 8), BASE)
INCREMENT_LINES, BASE_LINES = lines(header(1), INCREMENT), lines(header(0, "ef" * 8), BASE)


@fuzz("manifest, its values", 600)
@given(damaged_json(INCREMENT_LINES, BASE_LINES))
def test_wrong_values_are_refused_or_make_a_point(place, values):
    return refused(place.apply, write(place.folder / "values", values))


@fuzz("manifest, its text", 300)
@given(mutated(*(b"".join(json.dumps(line).encode() + b"\n" for line in sample)
                 for sample in (INCREMENT_LINES, BASE_LINES)), most=2))  # fmt: skip
def test_wrong_text_is_refused_or_makes_a_point(place, text):
    with ZstdFile(place.folder / "text", "wb") as file:
        file.write(text)
    return refused(place.apply, place.folder / "text")


@fuzz("manifest, its file", 300)
@given(mutated(INCREMENT_FILE, BASE_FILE))
def test_a_wrong_file_is_refused_or_makes_a_point(place, data):
    (place.folder / "file").write_bytes(data)
    return refused(place.apply, place.folder / "file")


def test_what_is_damaged_here_makes_points_when_it_is_not(place):
    for values in INCREMENT_LINES, BASE_LINES:
        place.apply(write(place.folder / "good", values))
    for data in INCREMENT_FILE, BASE_FILE:
        (place.folder / "good").write_bytes(data)
        place.apply(place.folder / "good")
