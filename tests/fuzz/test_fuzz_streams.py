"""What ZFS says, damaged: `zfs diff` and send streams give right values or one of our errors."""

import io
import stat

from hypothesis import given

from mutations import fuzz, mutated
from send_streams import DIRECTORY, END_OF_FILE, MASTER_NODE, Writer, znode
from zdiffsync.errors import IntegrityError
from zdiffsync.external.zfs_diff import parse_row
from zdiffsync.format.send_stream import read_objects

ROWS = [
    b"1795426656.035476676\tR\tF\t/t/d/a\\0040b\t/t/d/c/\\0303\\0251", b"1.0\tM\t/\t/t/d/",
    b"1.0\tM\tF\t/t/d/x\t(+1)", b"1.0\t+\t@\t/t/d/deep/er/link", b"1.0\t-\tF\t/t/d/gone",
    b"1.0\tR\tF\t/t/d(on_delete_queue)\t/t/d/f",
    b"1.0\tM\tF\t/t/d/<xattrdir>/user.k", b"1.0\tM\tF\t/t/d/a/../b", b"Unable to determine path or stats",
]  # fmt: skip


@fuzz("zfs diff")
@given(mutated(*ROWS))
def test_a_line_of_zfs_diff_is_a_row_or_is_refused(line):
    try:
        row = parse_row(line, b"/t/d")
    except ValueError:  # `diff` makes it the reason why its rows cannot be trusted
        return True
    if row is not None:
        assert row.kind in "M+-R"
        for path in (row.path, row.new_path or b""):
            assert b"\0" not in path
            assert not path or not {b"", b".", b".."} & set(path.split(b"/"))
        assert (row.kind == "R") == (row.new_path is not None)
    return False


def _stream(order):
    writer = Writer(order).begin(payload=bytes(96)).object_range(0, 32).object(1, MASTER_NODE)
    writer.object(34, DIRECTORY, znode(order, mode=stat.S_IFDIR | 0o755, links=4)).write(34, 0, 512)
    writer.object(128, bonus=znode(order, size=9000, links=2)).free(128, 16384, END_OF_FILE)
    writer.write(128, 0, 1024).write(128, 8192, 4096, compressed=512).embedded(128, 4096, 4096, 50)
    return writer.spill(128, 512).freeobjects(129, 9).end().data


@fuzz("send stream")
@given(mutated(_stream("<"), _stream(">")))
def test_a_send_stream_is_read_or_refused(data):
    stream = io.BytesIO(data)
    objects = []
    try:
        objects.extend(read_objects(stream))
    except IntegrityError:
        return True
    for item in objects:
        assert item.number >= 0
        assert all(start <= end for start, end in item.ranges)
    return False
