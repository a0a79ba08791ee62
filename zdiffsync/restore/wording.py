"""A path's history in words, the same on the command line and on the web page.

Rule: says only what restore.history found out.
"""

from zdiffsync.model.text import shown
from zdiffsync.restore.history import Departure, FileVersion

_WORDS = {
    "first": "in the first point", "back": "came back", "replaced": "another file", "xattrs": "attributes",
    "content?": "perhaps content",
}  # fmt: skip


def departed(item: Departure) -> str:
    """Return what became of what stood there."""
    return "removed" if item.target is None else f"renamed to {shown(item.target)}"


def changed(item: FileVersion, path: bytes) -> str:
    """Return what changed; a version under another name than `path`, which was asked for, says which."""
    words = [_WORDS.get(each, each) for each in item.changes]
    elsewhere = "" if item.path == path else f" as {shown(item.path)}"
    if item.origin is not None:
        how = "renamed" if "renamed" in item.changes else "linked"
        words[words.index(how)] = f"{how} from {shown(item.origin)}"
        elsewhere = elsewhere.replace(" as ", " to ", 1)
    return f"{words[0]}{elsewhere}{''.join(f', {each}' for each in words[1:])}"
