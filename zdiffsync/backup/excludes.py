"""What is left out of every point: gitignore patterns, relative to the dataset's root.

Consulted wherever a directory of a snapshot is listed, so an excluded name exists in neither the
old nor the new tree. Rule: as in git, nothing below an excluded directory can be taken back in.
"""

import hashlib
import os
from collections.abc import Sequence

from pathspec import GitIgnoreSpec

from zdiffsync.errors import ConfigError


class Excludes:
    """A compiled list of patterns. Raises ConfigError for one that gitignore does not know."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._lines = tuple(patterns)
        try:
            self._spec = GitIgnoreSpec.from_lines(self._lines)
        except ValueError as error:
            raise ConfigError(f"exclude pattern cannot be read: {error}") from error

    def __bool__(self) -> bool:
        return bool(self._lines)

    @property
    def digest(self) -> str:
        """Names this list of patterns; a chain built under another one must start anew."""
        return hashlib.sha256("\n".join(self._lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    @property
    def depends_on_place(self) -> bool:
        """Whether moving a directory can change what is excluded in it (a pattern with an inner slash)."""
        return any("/" in line.strip().rstrip("/") for line in self._lines if not line.startswith("#"))

    def matches(self, path: bytes, *, directory: bool) -> bool:
        """Tell whether this one path is excluded, its parents being included."""
        if not self._lines:
            return False
        text = os.fsdecode(path)
        return self._spec.match_file(text + "/" if directory else text)

    def covers(self, path: bytes, *, directory: bool) -> bool:
        """Tell whether this path or a directory above it is excluded."""
        if not self._lines:
            return False
        cut = path.find(b"/")
        while cut >= 0:
            if self.matches(path[:cut], directory=True):
                return True
            cut = path.find(b"/", cut + 1)
        return self.matches(path, directory=directory)
