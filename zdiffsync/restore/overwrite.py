"""What becomes of what is already there. Rule: planning and assembling ask here, so that they agree."""

import os
from enum import StrEnum

from zdiffsync.model.entry import Entry, EntryType


class Overwrite(StrEnum):
    """What to do with a file that is already there."""

    NEVER = "never"
    CHANGED = "changed"
    ALWAYS = "always"

    def replaces(self, entry: Entry, there: os.stat_result | None) -> bool:
        """Whether `entry`, which is no directory, is written where `there` is now (None: nothing)."""
        if there is None or self is Overwrite.ALWAYS:
            return True
        if self is Overwrite.NEVER:
            return False
        same_kind = EntryType.of_mode(there.st_mode) is entry.type
        same_size = entry.type is not EntryType.FILE or there.st_size == entry.size
        return not (same_kind and same_size and there.st_mtime_ns == entry.mtime_ns)
