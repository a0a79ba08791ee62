"""What is left out of every point: gitignore patterns, relative to the dataset's root.

Consulted wherever a directory of a snapshot is listed, so an excluded name exists in neither the
old nor the new tree. Rule: as in git, nothing below an excluded directory can be taken back in.
"""

import hashlib
import os
from collections.abc import Sequence

from zdiffsync.backup.gitignore import IgnoreRule


class Excludes:
    """A compiled list of patterns; of several that match a path, the last one decides."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._lines = tuple(patterns)
        rules = [IgnoreRule.parse(os.fsencode(line)) for line in self._lines]
        self._rules = tuple(rule for rule in reversed(rules) if rule is not None)

    def __bool__(self) -> bool:
        return bool(self._lines)

    @property
    def digest(self) -> str:
        """Names this list of patterns; a chain built under another one must start anew."""
        return hashlib.sha256("\n".join(self._lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    @property
    def depends_on_place(self) -> bool:
        """Whether moving a directory can change what is excluded in it (a pattern with an inner slash)."""
        return any(rule.anchored for rule in self._rules)

    def matches(self, path: bytes, *, directory: bool) -> bool:
        """Tell whether this one path is excluded, its parents being included."""
        for rule in self._rules:
            if rule.matches(path, directory=directory):
                return not rule.include
        return False

    def covers(self, path: bytes, *, directory: bool) -> bool:
        """Tell whether this path or a directory above it is excluded."""
        if not self._rules:
            return False
        cut = path.find(b"/")
        while cut >= 0:
            if self.matches(path[:cut], directory=True):
                return True
            cut = path.find(b"/", cut + 1)
        return self.matches(path, directory=directory)
