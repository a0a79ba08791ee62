"""Which of the two tells what changed, `zfs diff` or the send stream alone: whichever will take less time.

Asked by backup.detect once the stream has been read. `zfs diff` looks up the path of every changed object,
in huge directories for milliseconds each. The stream names objects by number: directories are found by
their handles and what came or went by listing them, but a file changed in place in an unchanged directory
only by reading the names of all directories.
Rule: both find the same; the choice follows what the dataset's own nights have measured.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from zdiffsync.backup.certificate import Certificate

Nights = Sequence[Mapping[str, Any]]

_ROW_SECONDS = 0.0005  # of `zfs diff`, until a night has shown it
_NAME_SECONDS = 0.00002  # of reading a name, until a base has shown it
_FEW = 50  # rows; the start of the process counts more below
_WORTH = 2.0  # seconds; below that `zfs diff` is good enough


def stream_is_quicker(certificate: Certificate, nights: Nights, since_ns: int) -> bool:
    """Tell whether to do without `zfs diff`; `nights` are the figures its points keep, oldest first.

    `since_ns` is when the old snapshot was taken, in ns since 1970.
    """
    objects, scattered = certificate.extent(since_ns)
    asking = objects * _row_seconds(nights)
    files = nights[-1].get("files_total") if nights else None
    if asking < _WORTH or (scattered and files is None):
        return False
    return asking > (files * _name_seconds(nights) if scattered and files else 0.0)


def _row_seconds(nights: Nights) -> float:
    for night in reversed(nights):
        rows, seconds = night.get("rows") or 0, night.get("seconds", {}).get("zfs diff")
        if rows >= _FEW and seconds is not None:
            return float(seconds) / int(rows)
    return _ROW_SECONDS


def _name_seconds(nights: Nights) -> float:
    for night in reversed(nights):
        files, seconds = night.get("files_total"), night.get("seconds", {}).get("survey")
        if files and seconds is not None:
            return float(seconds) / int(files)  # a survey looks at every file, too: at most so much
    return _NAME_SECONDS
