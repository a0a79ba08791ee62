r"""Pattern lines for restic's --include-file and --exclude-file that name exact paths.

Used by the restic door for selective restores and for what a base leaves out. restic reads such a file
line by line: trims white space, skips `#`, expands `$NAME`, cleans the path, then matches each component
by Go's filepath.Match. Rule: a pattern may match too much, never too little.
"""

import re
from collections.abc import Iterable

_SPECIAL = re.compile(rb"[\\*?\[\]$\n]")
# A line cannot hold a newline, so any character stands for it.
_ESCAPED = {b"$": b"$$", b"\n": b"?"}


def exact_patterns(root: bytes, paths: Iterable[bytes]) -> list[bytes]:
    """Return one pattern line (no newline) for each of `paths`, which are relative to `root`.

    `root` is the absolute path restic sees its source under, b"" for patterns inside a snapshot. A
    directory's pattern covers everything below it. Raises ValueError for an empty path: it would cover all.
    """
    prefix = _escape(root)
    lines = []
    for path in paths:
        if not path:
            raise ValueError("an empty path would match everything")
        # The leading slash anchors the pattern and hides `!`, `#` and spaces from restic's line reader;
        # the trailing one, which restic drops, does the same for white space at the end.
        lines.append(prefix + b"/" + _escape(path) + b"/")
    return lines


def _escape(path: bytes) -> bytes:
    return _SPECIAL.sub(lambda match: _ESCAPED.get(match[0], b"\\" + match[0]), path)
