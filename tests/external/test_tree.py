"""Reading a tree through one descriptor, on whatever file system the tests run on."""

import os
import stat

import pytest

from zdiffsync.errors import ZfsError
from zdiffsync.external.files import FileSource
from zdiffsync.external.tree import SnapshotTree
from zdiffsync.model.entry import EntryType


@pytest.fixture
def root(tmp_path):
    folder = os.fsencode(tmp_path / "root")
    os.mkdir(folder)
    return folder


@pytest.fixture
def tree(root):
    with SnapshotTree(root) as tree:
        yield tree


def write(path, data=b""):
    with open(path, "wb") as file:
        file.write(data)


def deep(root, levels):
    """Make a chain of directories far beyond PATH_MAX with a file at its end; return the file's path."""
    fd = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(b"d" * 250, dir_fd=fd)
        inner = os.open(b"d" * 250, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(os.open(b"leaf", os.O_CREAT | os.O_WRONLY, 0o604, dir_fd=fd))
    os.close(fd)
    return b"/".join([b"d" * 250] * levels + [b"leaf"])


def test_paths_beyond_path_max(root, tree):
    path = deep(root, 40)
    assert len(path) > 2 * os.pathconf(root, "PC_PATH_MAX")
    assert stat.S_IMODE(tree.lstat(path).st_mode) == 0o604
    assert tree.entry(path).mode == 0o604
    assert tree.identity(path).number == tree.lstat(path).st_ino
    with tree.opened(path) as fd:
        assert os.fstat(fd).st_ino == tree.lstat(path).st_ino
    assert [item.name for item in tree.names(path[:-5])] == [b"leaf"]
    assert [found for found, _ in tree.walk()][-1] == path
    assert tree.lstat(path + b"x") is None


def test_odd_names(root, tree):
    names = {b"\xff\xfe", b"new\nline", b" ", b"-", b"caf\xc3\xa9", b"\\", b"*", b"x" * 255}
    for name in names:
        write(os.path.join(root, name), name)
    assert {item.name for item in tree.names(b"")} == names
    for name in names:
        assert tree.entry(name).size == len(name)


def test_what_is_not_there(root, tree):
    write(root + b"/file")
    for path in (b"none", b"none/below", b"file/below"):
        assert tree.lstat(path) is None
        assert tree.identity(path) is None
        assert list(tree.names(path)) == []
    assert list(tree.names(b"file")) == []


def test_symlinks_are_never_followed(root, tree):
    os.mkdir(root + b"/dir")
    write(root + b"/dir/f", b"f")
    os.symlink(b"dir", root + b"/link")
    os.symlink(b"dir/f", root + b"/to file")
    assert tree.entry(b"link").type is EntryType.SYMLINK
    assert (tree.entry(b"link").target, tree.entry(b"link").size) == (b"dir", 0)
    assert list(tree.names(b"link")) == []
    assert not next(item for item in tree.names(b"") if item.name == b"link").directory
    with pytest.raises(OSError, match="symbolic links"), tree.opened(b"to file"):
        pass
    assert sorted(path for path, _ in tree.walk()) == [b"dir", b"dir/f", b"link", b"to file"]


def test_entries(root, tree):
    write(root + b"/f", b"12345")
    os.setxattr(root + b"/f", "user.b", b"\0")
    os.setxattr(root + b"/f", "user.a", b"")
    os.chmod(root + b"/f", 0o6711)
    os.utime(root + b"/f", ns=(1, 1_600_000_000_123_456_789))
    entry = tree.entry(b"f")
    assert (entry.type, entry.mode, entry.size) == (EntryType.FILE, 0o6711, 5)
    assert entry.mtime_ns == 1_600_000_000_123_456_789
    assert entry.xattrs == ((b"user.a", b""), (b"user.b", b"\0"))
    os.mkfifo(root + b"/p")
    assert (tree.entry(b"p").type, tree.entry(b"p").size) == (EntryType.FIFO, 0)
    assert (tree.entry(b"").type, tree.entry(b"").size) == (EntryType.DIRECTORY, 0)


def test_identity_is_of_the_object_and_not_the_name(root, tree):
    write(root + b"/a")
    os.link(root + b"/a", root + b"/b")
    write(root + b"/c")
    assert tree.identity(b"a") == tree.identity(b"b") != tree.identity(b"c")
    os.rename(root + b"/c", root + b"/d")
    assert tree.identity(b"d").number == tree.lstat(b"d").st_ino


def test_a_walk_shows_each_directory_before_its_content(root, tree):
    for path in (b"a", b"a/b", b"a/b/c", b"d"):
        os.mkdir(os.path.join(root, path))
        write(os.path.join(root, path, b"f"))
    found = [path for path, _ in tree.walk()]
    assert len(found) == len(set(found)) == 8
    assert all(found.index(path.rpartition(b"/")[0]) < at for at, path in enumerate(found) if b"/" in path)
    assert sorted(path for path, _ in tree.walk(b"a/b")) == [b"a/b/c", b"a/b/c/f", b"a/b/f"]


def test_a_fifo_does_not_block(root, tree):
    os.mkfifo(root + b"/p")
    with tree.opened(b"p") as fd:
        assert stat.S_ISFIFO(os.fstat(fd).st_mode)


def test_a_snapshot_that_is_not_there(root):
    with pytest.raises(ZfsError, match=r"cannot open the snapshot at .*: No such file"):
        SnapshotTree(root + b"/none")


def test_a_file_that_ends_early_is_an_error(root):
    write(root + b"/f", b"12345")
    fd = os.open(root + b"/f", os.O_RDWR)
    try:
        source = FileSource(fd)
        assert (source.size, source.read(1, 3), source.read(5, 0)) == (5, b"234", b"")
        os.ftruncate(fd, 3)
        with pytest.raises(OSError, match="ends before its size"):
            source.read(0, 5)
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    "pieces", [[], [(0, 1)], [(0, 4096)], [(1 << 20, 4096)], [(0, 4096), (1 << 20, 4096), (3 << 20, 1)]]
)
def test_data_ranges_cover_all_data(root, pieces):
    fd = os.open(root + b"/f", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for start, length in pieces:
            os.pwrite(fd, b"\xa5" * length, start)
        os.ftruncate(fd, 4 << 20)
        ranges = list(FileSource(fd).data_ranges())
        assert ranges == sorted(ranges)
        assert all(start < end <= 4 << 20 for start, end in ranges)
        for start, length in pieces:
            assert any(low <= start and start + length <= high for low, high in ranges)
        covered = bytearray(4 << 20)
        for low, high in ranges:
            covered[low:high] = os.pread(fd, high - low, low)
        assert bytes(covered) == os.pread(fd, 4 << 20, 0)
    finally:
        os.close(fd)


def test_where_a_directory_lies_is_told_by_zfs_alone(root, tree):
    os.mkdir(root + b"/d")
    assert tree.path_of(tree.identity(b"d")) is None  # this file system has no handles of ZFS's kind
