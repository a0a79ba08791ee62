"""Points, ls, cat and restore on a real repository: a restic base and an increment above it, without ZFS."""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from setup_cache import path_with_tools
from zdiffsync.cli.context import make_app
from zdiffsync.cli.main import invoke
from zdiffsync.format.manifest import (
    ContentRecord,
    Header,
    ManifestWriter,
    NameRecord,
    ObjectRecord,
    PackRecord,
    VersionRecord,
)
from zdiffsync.format.windows import BlobRef
from zdiffsync.format.zstd import compress
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.model.progress import silent
from zdiffsync.store.names import ManifestName, new_pack_id, pack_name

TIME = 1_700_000_000_000_000_000
NEW = b"what the increment brought\n"
STATS = {
    "files_total": 4, "bytes_total": 17, "uploaded_bytes": 5, "created": 1, "modified": 0, "metadata_only": 0,
    "names_removed": 2, "skipped_paths": [],
}  # fmt: skip
BASE, INCREMENT, WRONG = "aa" * 8, "ab" * 8, "cc" * 8


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a configuration and a filled repository."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path_with_tools())
        (home / "tree" / "dir").mkdir(parents=True)
        (home / "tree" / "keep").write_bytes(b"kept\n")
        (home / "tree" / "gone").write_bytes(b"gone\n")
        (home / "tree" / "dir" / "a").write_bytes(b"a\n")
        (home / "tree" / "dir" / "b").write_bytes(b"b\n")
        arguments = [
            "-c",
            home / "config.toml",
            "init",
            "--remote",
            home / "remote",
            "--state-dir",
            home / "state",
        ]
        assert invoke([str(argument) for argument in arguments]) == 0
        fill(home)
        yield home


def fill(home):
    app = make_app(home / "config.toml", json_output=True, verbosity=-1, no_progress=True)
    with app.opened() as opened:
        fd = os.open(home / "tree", os.O_RDONLY | os.O_DIRECTORY)
        with silent("base") as bar:
            summary = opened.restic.backup(
                fd, parent=None, tags=["zdiffsync"], host="h", time=datetime.now(UTC), exclude_file=None,
                progress=bar, stall=60.0,
            )  # fmt: skip
        os.close(fd)
        header = Header(
            opened.repository.identifier, "1" * 16, 0, 0, BASE, "tank/data", 7, "h", "tank/data@one", 1, 1,
            TIME, None, summary.snapshot_id, TIME, "0" * 16,
        )  # fmt: skip
        root = [
            ObjectRecord(1, 34, 1, b""),
            VersionRecord(1, Entry(EntryType.DIRECTORY, 0o755, os.getuid(), os.getgid(), TIME), None),
        ]
        commit(home, opened, header, root)
        pack, blob = new_pack_id(), compress(NEW)
        entry = Entry(EntryType.FILE, 0o600, os.getuid(), os.getgid(), TIME, len(NEW))
        digest = hashlib.sha256(NEW).hexdigest()
        changes = [
            PackRecord(pack, len(blob), hashlib.sha256(blob).hexdigest()),
            ContentRecord(1, len(NEW), digest, False, BlobRef(pack, 0, len(blob)), {pack: len(blob)}),
            ContentRecord(2, len(NEW), "0" * 64, False, BlobRef(pack, 0, len(blob)), {pack: len(blob)}),
            ObjectRecord(2, 50, 1, None), VersionRecord(2, entry, 1), NameRecord(1, b"new\nline", 2),
            ObjectRecord(3, 51, 1, b"dir"), NameRecord(1, b"dir", None), NameRecord(1, b"moved", 3),
            NameRecord(1, b"gone", None), NameRecord(3, b"a", None),
        ]  # fmt: skip
        upload(home, opened, pack_name(pack), blob)
        later = replace(header, first=1, sequence=1, point=INCREMENT, snapshot="tank/data@two", guid=2,
                        parent_guid=1, created_ns=TIME + 10**9)  # fmt: skip
        commit(home, opened, later, changes)
        wrong = [
            ObjectRecord(5, 61, 1, None), VersionRecord(5, entry, 2), NameRecord(1, b"wrong bytes", 5),
        ]  # fmt: skip
        last = replace(later, first=2, sequence=2, point=WRONG, snapshot="tank/data@three", guid=3,
                       parent_guid=2, created_ns=TIME + 2 * 10**9)  # fmt: skip
        commit(home, opened, last, wrong)


def upload(home, opened, name, data):
    path = home / "stage" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    opened.repository.store.data.upload(home / "stage", [name], lambda _done: None)


def commit(home, opened, header, records):
    path = home / "manifest"
    with ManifestWriter(path, header) as writer:
        for record in records:
            writer.add(record)
        writer.finish(STATS)
    upload(home, opened, str(ManifestName(header.chain, header.first, header.sequence)), path.read_bytes())


@pytest.fixture
def call(place, capfdbinary):
    def run(*arguments):
        code = invoke(["-c", str(place / "config.toml"), *map(str, arguments)])
        out, err = capfdbinary.readouterr()
        return code, out, err.decode()

    return run


def test_points_are_found_on_the_remote_without_a_catalog(call, place):
    shutil.rmtree(place / "state")
    code, out, err = call("--json", "points")
    assert (code, err) == (0, "")
    found = json.loads(out)["points"]
    assert [(item["point"], item["kind"]) for item in found] == [
        (BASE, "base"), (INCREMENT, "increment"), (WRONG, "increment"),
    ]  # fmt: skip
    code, out, _ = call("points", "tank/data")
    assert [line.split()[0] for line in out.decode().splitlines()] == ["POINT", BASE, INCREMENT, WRONG]


@pytest.mark.parametrize(
    ("location", "names"),
    [
        (BASE, ["dir", "gone", "keep"]),
        (f"{BASE}:keep", ["keep"]),
        (INCREMENT, ["keep", "moved", r"new\nline"]),
        ("tank/data@two:moved", ["b"]),
    ],
)
def test_ls(call, location, names):
    code, out, err = call("ls", location)
    assert (code, err) == (0, "")
    assert out.decode().splitlines() == names


def test_ls_of_all_below(call):
    code, out, _ = call("ls", "-R", INCREMENT)
    assert (code, out.decode().splitlines()) == (0, ["keep", "moved", "moved/b", r"new\nline"])


@pytest.mark.parametrize(
    ("command", "location", "words"),
    [
        ("ls", "ffff", "there is no point 'ffff'"),
        ("cat", "a", f"point 'a' is ambiguous: {BASE}, {INCREMENT}"),
        ("ls", "tank/none@latest", "there are no points of 'tank/none'; there are of tank/data"),
        ("ls", f"{INCREMENT}:gone", f"point {INCREMENT} of tank/data has no 'gone'"),
        ("cat", f"{INCREMENT}:moved/a", "has no 'moved/a'"),
        ("ls", f"{BASE}:keep/below", "has no 'keep/below'"),
        ("cat", f"{BASE}:dir/none", "has no 'dir/none'"),
        ("ls", f"{BASE}:no/such/place", "has no 'no/such/place'"),
    ],
)
def test_what_is_not_there(call, command, location, words):
    code, out, err = call(command, location)
    assert (code, out) == (2, b"")
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("location", "data"),
    [(f"{BASE}:gone", b"gone\n"), (f"{INCREMENT}:new\nline", NEW)],
)
def test_cat(call, location, data):
    assert call("cat", location) == (0, data, "")


def test_cat_of_wrong_bytes(call):
    code, out, err = call("cat", f"{WRONG}:wrong bytes")
    assert (code, out) == (90, b"")
    assert "does not match its digest" in err


def test_cat_of_a_directory(call):
    for location in (BASE, f"{BASE}:dir"):
        code, out, err = call("cat", location)
        assert (code, out) == (2, b"")
        assert "is not a file; see zdiffsync ls" in err


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_restore(call, tmp_path):
    assert call("restore", BASE, "--to", tmp_path / "base")[0] == 0
    assert tree(tmp_path / "base") == {
        "keep": b"kept\n", "gone": b"gone\n", "dir": None, "dir/a": b"a\n", "dir/b": b"b\n",
    }  # fmt: skip
    assert call("restore", INCREMENT, "--to", tmp_path / "later")[0] == 0
    assert tree(tmp_path / "later") == {"keep": b"kept\n", "moved": None, "moved/b": b"b\n", "new\nline": NEW}
    assert call("restore", f"{INCREMENT}:moved/b", "--to", tmp_path / "one")[0] == 0
    assert tree(tmp_path / "one") == {"b": b"b\n"}


def test_restore_of_a_point_with_wrong_bytes_tells(call, tmp_path):
    code, out, err = call("restore", WRONG, "--to", tmp_path / "to")
    assert code == 90
    assert "not restored: wrong bytes: content 2 in pack" in err
    assert out.startswith(b"restoring: 4 files, 61 B; ")
    assert b"\nrestored to " in out
    assert os.listdir(tmp_path) == ["to"]
    assert tree(tmp_path / "to") == {"keep": b"kept\n", "moved": None, "moved/b": b"b\n", "new\nline": NEW}


def test_restore_keeps_what_is_there_unless_told(call, tmp_path):
    (tmp_path / "keep").write_bytes(b"mine")
    code, out, _ = call("--json", "restore", f"{BASE}:keep", "--to", tmp_path)
    assert (code, json.loads(out)["kept"], (tmp_path / "keep").read_bytes()) == (0, 1, b"mine")
    code, out, _ = call("restore", f"{BASE}:keep", "--to", tmp_path, "--overwrite", "changed")
    assert (code, (tmp_path / "keep").read_bytes()) == (0, b"kept\n")


def test_a_dry_run_writes_nothing(call, tmp_path):
    code, out, _ = call("--json", "restore", INCREMENT, "--to", tmp_path / "to", "--dry-run")
    assert code == 0
    plan = json.loads(out)
    assert {key: plan[key] for key in ("dry_run", "entries", "files", "bytes", "local_bytes", "kept")} == {
        "dry_run": True, "entries": 4, "files": 3, "bytes": 7 + len(NEW), "local_bytes": 0, "kept": 0,
    }  # fmt: skip
    assert plan["objects"] == 2
    assert os.listdir(tmp_path) == []
