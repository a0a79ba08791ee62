"""Bases and restores with real restic over real rclone, on a tree of everything a file system can hold."""

import io
import os
import socket
import stat
import struct
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from zdiffsync.external.restic import Restic, exclude_patterns
from zdiffsync.external.tree import SnapshotTree
from zdiffsync.model.progress import SilentBar

WHEN = datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)
NAMES = [
    b"bad\xff", b"bad\xfe", b"\xed\xa0\x80", b"\xef\xbf\xbd", b"new\nline", b"\n", b"cr\r", b"tab\t",
    b" lead", b"trail ", b"\xc2\xa0nbsp\xc2\xa0", b"\xe2\x80\xa8", b"!bang", b"#hash", b"$HOME", b"$$",
    b"${x}", b"a*b", b"a?b", b"[x]", b"[!a]", b"**", b"back\\slash", b"ends\\", b'q"uo\'te', b"\x01\x7f",
    b"-dash", b"a:b", b"~", b"n" * 255, b"\xff" * 255, b"d\xff/in\xfe\n/f\n\xff", b"d\xff/ok", b"d\xfe/ok",
    b"ends\\d/in", b"plain",
]  # fmt: skip


class Bar(SilentBar):
    def __init__(self):
        self.passed, self.total = 0, None

    def advance(self, amount):
        assert amount >= 0
        self.passed += amount

    def expect(self, total):
        self.total = total


def make_tree(root):
    def put(name, data):
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        return path

    for number, name in enumerate(NAMES):
        put(name, b"%d" % number * (number + 1))
    plain = put(b"plain", b"plain text")
    os.link(plain, os.path.join(root, b"d\xff/hard"))
    os.setxattr(plain, b"user.binary", b"\0\xff")
    os.utime(plain, ns=(1, 1_700_000_000_123_456_789))
    os.utime(put(b"before 1970", b""), ns=(1, -5_000_000_001))
    os.chmod(put(b"setuid", b"#!"), 0o6755)
    os.mkdir(root + b"/sticky")
    os.chmod(root + b"/sticky", 0o1777)
    os.mkdir(root + b"/empty")
    os.symlink(b"to\xff\n", root + b"/link")
    os.setxattr(root + b"/link", b"trusted.of_link", b"v", follow_symlinks=False)
    # user::rw-, user:1234:rw-, group::r--, mask::rw-, other::---
    entries = [(1, 6, -1), (2, 6, 1234), (4, 4, -1), (16, 6, -1), (32, 0, -1)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(put(b"acl", b""), b"system.posix_acl_access", acl)
    os.mkfifo(root + b"/fifo")
    os.mknod(root + b"/chr", stat.S_IFCHR | 0o640, os.makedev(5, 300))
    os.mknod(root + b"/blk", stat.S_IFBLK | 0o600, os.makedev(259, 70000))
    with open(root + b"/sparse", "wb") as file:
        file.truncate(8 << 20)
        file.seek(3 << 20)
        file.write(b"data")
    with socket.socket(socket.AF_UNIX) as bound:
        here = os.getcwd()
        os.chdir(root)
        bound.bind("socket")
        os.chdir(here)
    os.chown(plain, 1234, 5678)


def opened(folder, restic_binary, **more):
    password = folder / "password"
    password.write_text("correct horse\n")
    environment = {"RCLONE_CONFIG_ZT_TYPE": "alias", "RCLONE_CONFIG_ZT_REMOTE": str(folder / "remote")}
    return Restic(
        "rclone:zt:restic", password, folder / "cache", environment=environment, binary=restic_binary, **more
    )


def back_up(restic, directory, **more):
    settings = {
        "parent": None, "tags": ["zdiffsync", "dataset=tank/a b"], "host": "host", "time": WHEN,
        "exclude_file": None, "progress": SilentBar(), "stall": 60.0,
    }  # fmt: skip
    with SnapshotTree(os.fsencode(directory)) as tree:
        return restic.backup(tree.descriptor, **settings | more)


@pytest.fixture(scope="module")
def base(tmp_path_factory, restic_binary):
    folder = tmp_path_factory.mktemp("base")
    root = os.fsencode(folder / "tree")
    os.mkdir(root)
    make_tree(root)
    restic = opened(folder, restic_binary, transfers=2, bwlimit="off")
    assert not restic.exists()
    restic.init()
    assert restic.exists()
    bar = Bar()
    summary = back_up(restic, root, progress=bar)
    return SimpleNamespace(
        folder=folder, root=root, restic=restic, summary=summary, id=summary.snapshot_id, bar=bar
    )


def contents(root):
    """Every path below root: its entry, its bytes, and the first name of the same object."""
    found, first = {}, {}
    with SnapshotTree(root) as tree:
        for path, item in sorted(tree.walk()):
            entry = tree.entry(path)
            data = Path(os.fsdecode(os.path.join(root, path))).read_bytes() if entry.type == "f" else None
            found[path] = entry, data, first.setdefault(item.number, path)
    return found


def test_the_first_base_reads_everything_and_counts_it(base):
    files = [entry for entry, _data, _first in contents(base.root).values() if entry.type == "f"]
    size = sum(entry.size for entry in files)
    summary = base.summary
    assert (summary.files_changed, summary.files_unmodified, summary.failed) == (0, 0, ())
    assert summary.bytes_processed == base.bar.passed == size
    assert summary.bytes_added > summary.bytes_added_packed > 0
    assert 0.9 * size < summary.bytes_read < 1.2 * size
    [snapshot] = base.restic.snapshots(["zdiffsync"])
    assert (snapshot.id, snapshot.time, snapshot.host) == (base.id, WHEN, "host")
    assert snapshot.tags == ("zdiffsync", "dataset=tank/a b")
    assert base.restic.snapshots(["other"]) == []


def test_a_whole_restore_is_the_tree_byte_for_byte(base, tmp_path):
    bar = Bar()
    target = tmp_path / "out"
    summary = base.restic.restore(base.id, None, target, includes=None, progress=bar)
    expected = {path: found for path, found in contents(base.root).items() if found[0].type != "s"}
    assert contents(os.fsencode(target)) == expected
    assert summary.failed == ()
    assert summary.size == bar.passed == bar.total
    assert summary.files == len(expected)
    assert (target / "sparse").stat().st_blocks < 2000
    assert stat.S_IMODE(target.stat().st_mode) == 0o700  # the root's own metadata is the caller's work


def test_a_restore_of_chosen_paths_has_them_all_and_their_parents(base, tmp_path):
    wanted = [name for name in NAMES if name != b"plain"]
    base.restic.restore(base.id, None, tmp_path, includes=wanted, progress=SilentBar())
    everything = contents(base.root)
    parents = {os.path.dirname(name) for name in wanted} | {b"d\xff"} - {b""}
    expected = {path: everything[path] for path in [*wanted, *parents] if path}
    assert contents(os.fsencode(tmp_path)) == expected


def test_chosen_paths_come_in_parts_when_they_are_many(base, tmp_path, monkeypatch):
    monkeypatch.setattr("zdiffsync.external.restic._INCLUDES_AT_ONCE", 2)
    bar = Bar()
    summary = base.restic.restore(
        base.id, b"d\xff", tmp_path, includes=[b"ok", b"in\xfe\n", b"hard"], progress=bar
    )
    below = {path[3:] for path in contents(base.root) if path.startswith(b"d\xff/")}
    assert contents(os.fsencode(tmp_path)).keys() == below
    assert bar.passed == bar.total == summary.size


def test_nothing_chosen_is_nothing_restored(base, tmp_path):
    summary = base.restic.restore(base.id, None, tmp_path, includes=[], progress=SilentBar())
    assert (summary.files, summary.size, list(tmp_path.iterdir())) == (0, 0, [])


def test_single_files_are_dumped_exactly(base):
    for name in (b"sparse", b"d\xff/in\xfe\n/f\n\xff"):
        out = io.BytesIO()
        base.restic.dump(base.id, name, out)
        assert out.getvalue() == contents(base.root)[name][1]


def test_a_directory_is_read_completely(base):
    everything = contents(base.root)
    for folder in (b"", b"d\xff"):
        found = {os.path.join(folder, node.name): node for node in base.restic.tree(base.id, folder)}
        expected = {
            path: entry
            for path, (entry, _data, _first) in everything.items()
            if os.path.dirname(path) == folder and entry.type != "s"
        }
        assert {path: node.entry for path, node in found.items()} == expected
        for path, node in found.items():
            info = os.lstat(os.path.join(base.root, path))
            assert node.inode == info.st_ino
            assert node.links in {0, info.st_nlink}
            assert node.links or not stat.S_ISREG(info.st_mode)


@pytest.mark.parametrize("folder", [b"", b"d\xff", b"empty"])
def test_a_listing_has_every_name_exactly(base, folder):
    everything = contents(base.root)
    below = folder + b"/" if folder else b""
    expected = {
        path[len(below) :]: (entry.type, entry.mode, entry.uid, entry.gid, entry.mtime_ns, entry.size)
        for path, (entry, _data, _first) in everything.items()
        if path.startswith(below) and entry.type != "s"
    }
    found = {
        path: (node.type, node.mode, node.uid, node.gid, node.mtime_ns, node.size)
        for path, node in base.restic.listing(base.id, folder)
    }
    assert found == expected


def test_a_second_base_from_another_directory_reads_nothing_again(base):
    moved = base.root + b" elsewhere"
    os.rename(base.root, moved)
    try:
        found = back_up(base.restic, moved)
        explicit = back_up(base.restic, moved, parent=base.id)
    finally:
        os.rename(moved, base.root)
    for summary in (found, explicit):
        assert (summary.files_new, summary.files_changed) == (0, 0)
        assert summary.files_unmodified == base.summary.files_new
        assert summary.bytes_added == 0
        assert summary.bytes_read < 100_000
    base.restic.forget([found.snapshot_id, explicit.snapshot_id, "0" * 64], prune=True)
    assert [snapshot.id for snapshot in base.restic.snapshots()] == [base.id]
    base.restic.check(None)
    base.restic.check("100%")


def test_excluded_paths_and_only_they_are_left_out(base, tmp_path):
    link = tmp_path / "by another name"
    link.symlink_to(os.fsdecode(base.root))
    kept = {b"plain", b"acl", b"empty"}
    tops = {path.split(b"/")[0] for path in contents(base.root)}
    lines = exclude_patterns(os.fsencode(link), tops - kept)
    file = tmp_path / "excludes"
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    summary = back_up(base.restic, link, exclude_file=file, tags=["part"])
    assert {path for path, _node in base.restic.listing(summary.snapshot_id, b"")} == kept
    base.restic.forget([summary.snapshot_id], prune=False)
