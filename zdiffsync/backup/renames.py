"""Carrying a path from the old tree to the new one across renamed directories, and back.

Used for names nothing else mentions: the other names of hard links, paths in the ledger.
Rule: only a guess until the object there has been checked to be the same.
"""

from collections.abc import Iterable


class PathTranslation:
    """Maps by the longest directory that is known to have moved."""

    def __init__(self, moved: Iterable[tuple[bytes, bytes]]) -> None:
        self._map = dict(moved)

    def __call__(self, path: bytes) -> bytes:
        """Return where `path` went, itself when no directory above it moved."""
        if not self._map:
            return path
        cut = path.rfind(b"/")
        while cut >= 0:
            to = self._map.get(path[:cut])
            if to is not None:
                return to + path[cut:] if to else path[cut + 1 :]
            cut = path.rfind(b"/", 0, cut)
        return path
