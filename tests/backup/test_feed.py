"""Whether `zfs diff` or the stream alone is asked what changed."""

import pytest

from zdiffsync.backup.certificate import Certificate
from zdiffsync.backup.feed import stream_is_quicker
from zdiffsync.format.send_stream import StreamObject

SINCE = 1000
DIRECTORY = StreamObject(7, directory=True, written=True, ctime_ns=SINCE)
BASE = {"files_total": 1_000_000, "seconds": {"survey": 20.0}}
NIGHT = {"files_total": 1_000_000, "rows": 100, "seconds": {"zfs diff": 0.5}}


def certificate(count, *, parent=7, ctime_ns=SINCE):
    files = [
        StreamObject(number, directory=False, ctime_ns=ctime_ns, parent=parent)
        for number in range(100, 100 + count)
    ]
    return Certificate([DIRECTORY, *files])


@pytest.mark.parametrize(
    ("changed", "nights", "quicker"),
    [
        (certificate(100), [BASE], False),  # a few rows are there at once
        (certificate(10_000), [BASE], True),  # all in a directory that changed itself: nothing to search
        (certificate(10_000), [], True),
        (certificate(10_000, parent=8), [BASE], False),  # 5 s of rows, 20 s of reading a million names
        (certificate(10_000, parent=8), [BASE, NIGHT], True),  # rows have been seen to take 5 ms each
        (certificate(10_000, parent=8), [BASE, NIGHT | {"rows": 10}], False),  # so few say nothing
        (certificate(10_000, parent=None), [], False),  # nobody knows how large the dataset is
        (certificate(10_000, parent=8), [{"files_total": 1000}], True),
        (certificate(10_000, ctime_ns=SINCE - 1), [BASE, NIGHT], False),  # neighbours of what changed
    ],
)
def test_the_quicker_one_is_asked(changed, nights, quicker):
    assert stream_is_quicker(changed, nights, SINCE) is quicker
