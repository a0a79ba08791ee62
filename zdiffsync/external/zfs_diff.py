r"""`zfs diff -FHt A B`: what ZFS says changed, parsed as bytes.

Second step of the nightly flow. Its word is a hint for backup.reconcile, never the truth.
Rule: whatever makes the output incomplete (stderr, exit code, stall, an odd line) ends as one
`problem` sentence, and the caller compares the trees instead.

Source: lib/libzfs/libzfs_diff.c; recorded outputs of OpenZFS 2.1.11 and 2.3.2.
Escapes: every byte <= 0x20, >= 0x7f and the backslash print as `\` and four octal digits.
"""

import re
from dataclasses import dataclass

from zdiffsync.errors import ToolError
from zdiffsync.external.process import stream_tool

_STALL = 900.0  # seconds without a line; one row can take long in a huge directory
_ESCAPE = re.compile(rb"\\([0-7]{4})")
_KINDS = frozenset((b"M", b"+", b"-", b"R"))
_FIELDS_WITH_PATH = 4
_NO_NAMES = frozenset((b"", b".", b".."))


@dataclass(frozen=True, slots=True)
class DiffRow:
    """One line. `path` is in the old snapshot for '-' and 'R', `new_path` in the new one for 'R'.

    Both are relative to the dataset's root (b'' is the root). `directory` tells the type shown.
    """

    kind: str
    directory: bool
    path: bytes
    new_path: bytes | None


@dataclass(frozen=True, slots=True)
class Diff:
    """All rows, or the reason why they cannot be trusted to be all."""

    rows: tuple[DiffRow, ...]
    problem: str | None


def decode_path(field: bytes) -> bytes:
    r"""Undo the `\0ooo` escapes of one path field. Raises ValueError for a byte above 0o377."""
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), field)


def parse_row(line: bytes, mountpoint: bytes) -> DiffRow | None:
    """Parse one line (no newline); None for pseudo-paths outside the tree such as the delete queue.

    Raises ValueError when the line is not what `zfs diff -FHt` prints.
    """
    fields = line.split(b"\t")
    if len(fields) < _FIELDS_WITH_PATH or fields[1] not in _KINDS:
        raise ValueError(f"unexpected zfs diff line {line!r}")
    kind = fields[1].decode()
    path = _relative(decode_path(fields[3]), mountpoint)
    new_path = None
    if kind == "R":
        if len(fields) == _FIELDS_WITH_PATH:
            raise ValueError(f"zfs diff names no new path in {line!r}")
        new_path = _relative(decode_path(fields[4]), mountpoint)
        if new_path is None:
            kind = "-"
        elif path is None:
            kind, path, new_path = "+", new_path, None
    if path is None:
        return None
    return DiffRow(kind, fields[2] == b"/", path, new_path)


def _relative(path: bytes, mountpoint: bytes) -> bytes | None:
    root = mountpoint.rstrip(b"/")
    if path == root or path == root + b"/":
        return b""
    if not path.startswith(root + b"/"):
        return None
    inside = path[len(root) + 1 :].rstrip(b"/")
    if b"\0" in inside or any(name in _NO_NAMES for name in inside.split(b"/") if inside):
        raise ValueError(f"unexpected path {path!r} from zfs diff")
    return inside


def diff(old: str, new: str, mountpoint: bytes) -> Diff:
    """Run `zfs diff -FHt old new` (snapshot names) for a dataset mounted at `mountpoint`.

    Never raises for a failing `zfs diff`: the returned problem says what happened.
    """
    rows: list[DiffRow] = []
    try:
        with stream_tool(["zfs", "diff", "-FHt", old, new], stall=_STALL) as running:
            for line in running.stdout:
                row = parse_row(line.rstrip(b"\n"), mountpoint)
                if row is not None:
                    rows.append(row)
            done = running.wait()
    except (ToolError, ValueError) as error:
        return Diff((), str(error))
    if done.returncode or done.stderr:
        said = " ".join(done.stderr.decode(errors="replace").split()) or f"exit code {done.returncode}"
        return Diff((), f"zfs diff: {said}")
    return Diff(tuple(rows), None)
