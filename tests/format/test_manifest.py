"""Manifests: everything comes back, and nothing that is not whole is read."""

import json
import os
import re
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zdiffsync.errors import IntegrityError, UsageError, ZdiffsyncError
from zdiffsync.format import manifest
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
    decode,
    encode,
    read_manifest,
)
from zdiffsync.format.manifest_values import MAX_BLOB, MAX_DEPTH, MAX_WHOLE
from zdiffsync.format.windows import BlobRef
from zdiffsync.format.zstd import ZstdFile
from zdiffsync.model.entry import Entry, EntryType

HEADER = Header(
    repository="ab" * 16, chain="cd" * 8, first=2, sequence=3, point="ef" * 8, dataset="tank/da ta",
    dataset_guid=2**64 - 1, host="höst", snapshot="tank/da ta@zdiffsync-1", guid=2**63 + 5, createtxg=77,
    created_ns=1795426656_000000000, parent_guid=2**64 - 2, restic="12" * 32,
    base_ns=None, excludes="34" * 8, tags=("weekly", "ä b"), keep=True,
)  # fmt: skip

NAMES = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [b"\xff\xfe", b"\xed\xb2\x80", "é".encode(), b"e\xcc\x81", b"a\nb", b'"\\', b"\xf0\x9f\x98"]
    ),
)
NAMES = NAMES.map(lambda raw: re.sub(rb"[/\0]", b"_", raw)).filter(
    lambda name: name not in {b"", b".", b".."}
)
PATHS = st.lists(NAMES, max_size=4).map(b"/".join)
NUMBERS = st.integers(0, 2**63 - 1)
COUNTED = st.integers(1, 2**63 - 1)
PACKS = st.binary(min_size=16, max_size=16).map(bytes.hex)
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
BLOBS = st.builds(BlobRef, PACKS, st.integers(0, 2**62), st.integers(1, MAX_BLOB))
ENTRIES = st.builds(
    Entry, st.sampled_from(EntryType), st.integers(0, 0o7777), st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1), st.integers(-(2**70), 2**70), NUMBERS, NUMBERS, NAMES,
    st.lists(st.tuples(NAMES, st.binary(max_size=80)), max_size=3).map(tuple),
).map(lambda entry: entry if entry.type is EntryType.SYMLINK else replace(entry, target=None))  # fmt: skip


@st.composite
def contents(draw):
    number, windowed = draw(COUNTED), draw(st.booleans())
    return ContentRecord(
        number, draw(NUMBERS if windowed else st.integers(0, MAX_WHOLE)), draw(DIGESTS), windowed,
        draw(st.none() | BLOBS), draw(st.dictionaries(PACKS, NUMBERS, max_size=3)),
        draw(st.none() | st.integers(0, number - 1)), draw(st.none() | PATHS),
        draw(st.integers(0, MAX_DEPTH)),
    )  # fmt: skip


RECORDS = st.one_of(
    st.builds(PackRecord, PACKS, NUMBERS, DIGESTS),
    contents(),
    st.builds(ObjectRecord, COUNTED, NUMBERS, NUMBERS, st.none() | PATHS),
    st.builds(VersionRecord, COUNTED, ENTRIES, st.none() | NUMBERS),
    st.builds(NameRecord, COUNTED, NAMES, st.none() | COUNTED),
    st.builds(LinksRecord, NUMBERS, NUMBERS, st.lists(PATHS, max_size=3).map(tuple)),
)


def write(path, records, header=HEADER, stats=None):
    with ManifestWriter(path, header) as writer:
        for record in records:
            writer.add(record)
        writer.finish(stats or {})
    return path


def write_lines(path, *lines):
    with ZstdFile(path, "wb") as file:
        for line in lines:
            file.write((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "000003.manifest"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("manifests")


@given(
    st.lists(RECORDS, max_size=12),
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(), max_size=3),
)
def test_everything_comes_back(folder, records, stats):
    path = write(folder / "m", records, stats=stats)
    assert list(read_manifest(path)) == [HEADER, *records, Summary(stats)]


@pytest.mark.parametrize("byte", sorted({*range(1, 256)} - {ord("/")}))
def test_every_byte_is_a_name(byte):
    name = bytes([byte, 0x41, byte])
    assert decode(json.loads(json.dumps(encode(NameRecord(1, name, None))))) == NameRecord(1, name, None)


@given(RECORDS)
def test_a_record_is_one_line_of_plain_ascii(record):
    line = json.dumps(encode(record))
    assert line.isascii()
    assert "\n" not in line


def test_a_base_has_no_parent(path):
    base = replace(HEADER, sequence=0, parent_guid=None)
    assert next(iter(read_manifest(write(path, [], base)))) == base
    assert base.is_base
    assert not HEADER.is_base


SAMPLE = [
    PackRecord("a" * 32, 100, "b" * 64),
    ContentRecord(1, 4, "c" * 64, False, BlobRef("a" * 32, 8, 13), {"a" * 32: 13}),
    ContentRecord(
        2, 4 << 20, "d" * 64, True, BlobRef("a" * 32, 21, 13), {"a" * 32: 13, "b" * 32: 7}, 0, b"old", 1
    ),
    ObjectRecord(1, 128, 99, b"dir/\xff"),
    VersionRecord(1, Entry(EntryType.FILE, 0o644, 0, 0, 5, 4, xattrs=((b"user.k", b"v"),)), 1),
    NameRecord(1, b"new\nname", 2),
    LinksRecord(128, 99, (b"a", b"b")),
]


def test_cut_anywhere(path):
    data = write(path, SAMPLE * 3).read_bytes()
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        with pytest.raises(IntegrityError, match=r"000003\.manifest"):
            list(read_manifest(path))


def test_every_flipped_byte_is_noticed(path):
    good = list(read_manifest(write(path, SAMPLE * 3)))
    data = path.read_bytes()
    unnoticed = []
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :])
        try:
            unnoticed += [at] if list(read_manifest(path)) != good else []
        except IntegrityError:
            continue
    assert unnoticed == []


@given(st.data())
@settings(max_examples=200)
def test_damaged_bytes_are_an_integrity_error(folder, data):
    path = write(folder / "damaged", SAMPLE)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    try:
        found = list(read_manifest(path))
    except IntegrityError:
        return
    assert found == [HEADER, *SAMPLE, Summary({})]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_a_line_of_wrong_json_is_an_integrity_error(folder, data):
    """Damage that zstd cannot see: one value of one record is something else, or is missing."""
    lines = [{"manifest": FORMAT, **header_values()}, *(encode(record) for record in SAMPLE),
             {"end": len(SAMPLE), "stats": {}}]  # fmt: skip
    line = lines[data.draw(st.integers(0, len(lines) - 1))]
    key = data.draw(st.sampled_from(sorted(line)))
    if data.draw(st.booleans()):
        line[key] = data.draw(JSON)
    else:
        del line[key]
    path = write_lines(folder / "wrong", *lines)
    try:
        found = list(read_manifest(path))
    except (IntegrityError, UsageError):
        return
    assert isinstance(found[0], Header)
    assert isinstance(found[-1], Summary)


def header_values():
    return {name: getattr(HEADER, name) for name in HEADER.__dataclass_fields__}


HEAD = {"manifest": FORMAT, **header_values()}
NAME = encode(NameRecord(1, b"n", 2))
END = {"end": 1, "stats": {}}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((), "damaged"),
        ((b"",), "damaged"),
        ((b"not json",), "damaged"),
        (([1],), "no manifest header"),
        ((None,), "no manifest header"),
        ((NAME, END), "no manifest header"),
        (({"manifest": FORMAT}, END), "damaged"),
        (({**HEAD, "surprise": 1}, END), "damaged"),
        ((HEAD,), "truncated after 0 records"),
        ((HEAD, NAME), "truncated after 1 records"),
        ((HEAD, END), "holds 0 of its 1 records"),
        ((HEAD, NAME, NAME, END), "holds 2 of its 1 records"),
        ((HEAD, NAME, END, NAME), "goes on behind its end"),
        ((HEAD, NAME, END, END), "goes on behind its end"),
        ((HEAD, NAME, {"end": 1}), "damaged"),
        ((HEAD, NAME, {"end": 1, "stats": 5}), "damaged"),
        ((HEAD, {"nonsense": 1}, END), "unknown record"),
        ((HEAD, [1], END), "damaged"),
        ((HEAD, 7, END), "damaged"),
        ((HEAD, b"{", END), "damaged"),
        ((HEAD, b"\xff", END), "damaged"),
        ((HEAD, {**NAME, "name": "\ud800"}, END), "damaged"),
        ((HEAD, {**NAME, "name": 5}, END), "damaged"),
        ((HEAD, {**encode(SAMPLE[4]), "type": "x"}, END), "damaged"),
        ((HEAD, {**encode(SAMPLE[4]), "xattrs": [["user.k", "!!"]]}, END), "damaged"),
    ],
)  # fmt: skip
def test_what_is_no_manifest(path, lines, words):
    with pytest.raises(IntegrityError, match=words):
        list(read_manifest(write_lines(path, *lines)))


def test_deeply_nested_json_is_an_integrity_error(path):
    with pytest.raises(IntegrityError, match="damaged"):
        list(read_manifest(write_lines(path, HEAD, b"[" * 200_000, END)))


@pytest.mark.parametrize("line", [b'"' + b"a" * (1 << 28) + b'"', b"[" * (1 << 28)], ids=["text", "lists"])
def test_a_line_longer_than_any_is_refused_before_it_has_filled_the_memory(path, monkeypatch, line):
    monkeypatch.setattr(manifest, "MAX_LINE", 1 << 20)
    write_lines(path, HEAD, line, END)
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError, match="a line has more than 1048576 bytes"):
            list(read_manifest(path))
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_line_that_nothing_could_read_is_not_written(path, monkeypatch):
    monkeypatch.setattr(manifest, "MAX_LINE", 1000)
    with ManifestWriter(path, HEADER) as writer, pytest.raises(ZdiffsyncError, match="name record of 11"):
        writer.add(NameRecord(1, b"n" * 1090, 2))


def test_statistics_that_nest_without_end_are_refused(path):
    stats = {}
    for _ in range(100):
        stats = {"more": stats}
    with pytest.raises(IntegrityError, match="nested too deep"):
        list(read_manifest(write_lines(path, HEAD, {"end": 0, "stats": stats})))


WRONG = [
    {"size": -1}, {"size": 1 << 63}, {"size": "5"}, {"size": True}, {"size": 1.0}, {"uid": 1 << 32},
    {"uid": -1}, {"mode": 0o10000}, {"rdev": 1 << 64}, {"mtime_ns": 1 << 200}, {"target": "x"},
    {"type": "l", "target": ""}, {"type": "l", "target": "a\0b"}, {"type": "l", "target": None},
    {"xattrs": [["a\0b", ""]]}, {"xattrs": [["", ""]]}, {"xattrs": {}}, {"version": 0}, {"content": -1},
    {"surprise": 1},
]  # fmt: skip


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_a_version_with_a_value_that_no_run_writes(path, change):
    with pytest.raises(IntegrityError, match="damaged"):
        list(read_manifest(write_lines(path, HEAD, {**encode(SAMPLE[4]), **change}, END)))


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a/b", "../x", "/etc", "a\0b"])
def test_a_name_that_would_lead_out_of_its_directory(path, name):
    with pytest.raises(IntegrityError, match="not a name"):
        list(read_manifest(write_lines(path, HEAD, {**NAME, "name": name}, END)))


@pytest.mark.parametrize("base", ["/etc", "../x", "a/../b", "a//b", "a/", ".", "a\0b"])
def test_a_base_path_that_would_lead_out_of_the_base(path, base):
    with pytest.raises(IntegrityError, match="not a path"):
        list(read_manifest(write_lines(path, HEAD, {**encode(SAMPLE[3]), "base": base}, END)))


@pytest.mark.parametrize(
    "change",
    [{"source": 2}, {"source": 3}, {"depth": MAX_DEPTH + 1}, {"blob": ["../../etc/x", 0, 1]},
     {"blob": ["a" * 32, (1 << 63) - 1, 1]}, {"blob": ["a" * 32, 0, MAX_BLOB + 1]},
     {"blob": ["a" * 32, 0, 0]}, {"windowed": False, "size": MAX_WHOLE + 1},
     {"digest": "x"}, {"packs": {"..": 1}}],
    ids=str,
)  # fmt: skip
def test_a_content_that_cannot_be_read(path, change):
    with pytest.raises(IntegrityError, match="damaged"):
        list(read_manifest(write_lines(path, HEAD, {**encode(SAMPLE[2]), **change}, END)))


@pytest.mark.parametrize(
    "change",
    [{"dataset": "-rf"}, {"dataset": "tank\x1b[2J"}, {"snapshot": "tank/data"}, {"restic": "--help"},
     {"chain": "../../x"}, {"point": ""}, {"repository": "x"}, {"sequence": -1}, {"first": "0"},
     {"guid": -1}, {"host": "\x1b]0;x"}, {"host": "\udcff"}, {"tags": ["\x1b"]}, {"tags": "x"}, {"keep": 1}],
    ids=str,
)  # fmt: skip
def test_a_header_with_a_value_that_no_run_writes(path, change):
    with pytest.raises(IntegrityError, match="damaged"):
        list(read_manifest(write_lines(path, {**HEAD, **change}, END)))


@pytest.mark.parametrize(
    "stats",
    [{"quiet": ["x"]}, {"quiet": 1}, {"skipped_paths": ["6"]}, {"skipped_paths": ["2e2e"]},
     {"created": "many"}, {"uploaded_bytes": None}, {"bytes_total": -1}],
    ids=str,
)  # fmt: skip
def test_statistics_that_nothing_could_compute_with(path, stats):
    with pytest.raises(IntegrityError, match="damaged"):
        list(read_manifest(write_lines(path, HEAD, {"end": 0, "stats": stats})))


def test_a_newer_format_says_to_upgrade(path):
    with pytest.raises(
        UsageError, match="manifest format 99 is not 2, which this zdiffsync reads; upgrade it"
    ):
        list(read_manifest(write_lines(path, {"manifest": 99, "other": "keys"})))


def test_bytes_behind_the_frame_are_noticed(path):
    data = write(path, SAMPLE).read_bytes()
    for tail in (b"x", data, os.urandom(50)):
        path.write_bytes(data + tail)
        with pytest.raises(IntegrityError):
            list(read_manifest(path))


def test_a_manifest_is_read_in_a_stream_and_not_at_once(path):
    big = NameRecord(1, b"n" * 200, 2)
    write(path, [big] * 50_000)
    items = read_manifest(path)
    assert next(items) == HEADER
    assert next(items) == big
    items.close()
    assert path.stat().st_size < 50_000


def test_leaving_the_writer_without_finish_leaves_no_readable_manifest(path):
    with ManifestWriter(path, HEADER) as writer:
        writer.add(SAMPLE[0])
    with pytest.raises(IntegrityError, match="truncated after 1 records"):
        list(read_manifest(path))
