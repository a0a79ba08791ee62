import json
import stat

import pytest

from zdiffsync.errors import IntegrityError
from zdiffsync.external.restic_node import nanoseconds, parse_tree, posix_mode, unquote
from zdiffsync.external.restic_patterns import exact_patterns
from zdiffsync.external.restic_transfer import failures, remove_broken, shown, true_paths
from zdiffsync.model.entry import Entry, EntryType


@pytest.mark.parametrize(
    ("go", "posix"),
    [
        (0, stat.S_IFREG),
        (0o644, stat.S_IFREG | 0o644),
        (1 << 23 | 1 << 22 | 0o755, stat.S_IFREG | 0o6755),
        (1 << 31 | 1 << 20 | 0o777, stat.S_IFDIR | 0o1777),
        (1 << 27 | 0o777, stat.S_IFLNK | 0o777),
        (1 << 25 | 0o600, stat.S_IFIFO | 0o600),
        (1 << 24 | 0o755, stat.S_IFSOCK | 0o755),
        (1 << 26 | 0o660, stat.S_IFBLK | 0o660),
        (1 << 26 | 1 << 21 | 0o620, stat.S_IFCHR | 0o620),
    ],
)
def test_go_mode_becomes_posix_mode(go, posix):
    assert posix_mode(go) == posix


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2023-11-14T22:13:20.123456789Z", 1_700_000_000_123_456_789),
        ("2023-11-14T23:13:20.1+01:00", 1_700_000_000_100_000_000),
        ("2023-11-14T16:43:20.000000001-05:30", 1_700_000_000_000_000_001),
        ("1969-12-31T23:59:54.999999999Z", -5_000_000_001),
        ("2242-03-16T12:56:32Z", 8_589_934_592_000_000_000),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000_000),
        ("0000-01-01T00:00:00Z", -62_167_219_200_000_000_000),
        ("9999-12-31T23:59:59.999999999Z", 253_402_300_799_999_999_999),
    ],
)
def test_go_times_keep_their_nanoseconds(text, expected):
    assert nanoseconds(text) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2023-11-14", "2023-13-14T00:00:00Z"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match=r"time|month|isoformat"):
        nanoseconds(text)


@pytest.mark.parametrize(
    ("quoted", "name"),
    [
        ("plain", b"plain"),
        (r"bad\xff", b"bad\xff"),
        (r"new\nline\ttab\r\a\b\f\v", b"new\nline\ttab\r\a\b\f\v"),
        (r"q\"uote \\n", b'q"uote \\n'),
        (r"\x01\x7f", b"\x01\x7f"),
        (r"\u2028\U000e0001", "\u2028\U000e0001".encode()),
        ("ü\ufffd", "ü\ufffd".encode()),
    ],
)
def test_go_quoting_is_undone(quoted, name):
    assert unquote(quoted) == name


def test_a_stored_directory_is_read_completely():
    common = {"mtime": "1970-01-01T00:00:01Z", "uid": 1, "gid": 2, "inode": 7, "links": 2}
    nodes = [
        common | {"name": "f", "type": "file", "mode": 0o640, "size": 5, "extended_attributes": [
            {"name": "user.b", "value": "AP8="}, {"name": "user.a", "value": None}]},
        common | {"name": "l", "type": "symlink", "mode": 1 << 27 | 0o777, "linktarget": "t\ufffd",
                  "linktarget_raw": "dP8=", "size": 2},
        common | {"name": "c", "type": "chardev", "mode": 1 << 26 | 1 << 21, "device": 1288},
        common | {"name": "d", "type": "dir", "mode": 1 << 31 | 0o755, "subtree": "00"},
    ]  # fmt: skip
    found = parse_tree(json.dumps({"nodes": nodes}).encode())
    second = 1_000_000_000
    assert [node.name for node in found] == [b"f", b"l", b"c", b"d"]
    assert [node.entry for node in found] == [
        Entry(EntryType.FILE, 0o640, 1, 2, second, 5, xattrs=((b"user.a", b""), (b"user.b", b"\0\xff"))),
        Entry(EntryType.SYMLINK, 0o777, 1, 2, second, target=b"t\xff"),
        Entry(EntryType.CHARACTER, 0, 1, 2, second, rdev=1288),
        Entry(EntryType.DIRECTORY, 0o755, 1, 2, second),
    ]
    assert {(node.inode, node.links) for node in found} == {(7, 2)}


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"nodes": [{}]}', b'{"nodes": [{"name": "a", "mtime": "x", "uid": 1, "gid": 1}]}']
)
def test_a_damaged_directory_is_an_integrity_error(data):
    with pytest.raises(IntegrityError, match="does not parse"):
        parse_tree(data)


def test_patterns_escape_what_restic_would_interpret():
    assert exact_patterns(b"/a[b", [b"*?$x\n", b" #!"]) == [rb"/a\[b/\*\?$$x?/", b"/a\\[b/ #!/"]
    with pytest.raises(ValueError, match="everything"):
        exact_patterns(b"", [b""])


def test_shown_names_are_traced_back():
    names = {b"": [b"d\xff", b"d\xfe", b"d"], b"d\xff": [b"f"], b"d\xfe": [b"f", b"g"]}
    assert shown(b"\xe2\x82x\xed\xa0\x80") == "\ufffd\ufffdx\ufffd\ufffd\ufffd"  # Go: one for each byte
    assert true_paths("d\ufffd/f", names.__getitem__) == [b"d\xff/f", b"d\xfe/f"]
    assert true_paths("d/f", names.__getitem__) == [b"d/f"]

    def gone(_folder):
        raise FileNotFoundError

    assert true_paths("d\ufffd", gone) == ["d\ufffd".encode()]


def test_each_failed_file_is_named_once_with_its_first_reason():
    lines = [
        b'rclone: 2026/01/01 00:00:00 NOTICE: {"not": "ours"}',
        b'{"message_type":"error","error":{"message":"first"},"during":"scan","item":"/a"}',
        b'{"message_type":"error","error":{"message":"second"},"during":"archival","item":"/a"}',
        b'{"message_type":"error","error":{"message":"cut',
        b'{"message_type":"exit_error","code":3,"message":"Warning"}',
    ]
    assert failures(b"\n".join(lines), lambda item: [item.encode()]) == ((b"/a", "first"),)


def test_broken_files_go_with_all_their_names_and_those_that_lack_metadata_stay(tmp_path):
    for name in ("broken", "poor", "good"):
        (tmp_path / name).write_text(name)
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/other name").hardlink_to(tmp_path / "broken")
    failed = (
        (b"broken", "decrypting blob failed"),
        (b"poor", "xattr.LSet /out/poor user.x: no space left on device"),  # as restic 0.18 and 0.19 say it
        (b"dir", "lchown /out/dir: operation not permitted"),
        (b"never made", "open: permission denied"),
    )
    found = remove_broken(bytes(tmp_path), failed)
    assert found == (*failed, (b"dir/other name", "decrypting blob failed"))
    assert {path.name for path in tmp_path.rglob("*")} == {"poor", "good", "dir"}
