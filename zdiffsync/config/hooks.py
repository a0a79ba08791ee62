"""The [hooks] table of the configuration: shell commands around a run.

Rule: a command is handed to the shell as it stands here.
"""

from datetime import timedelta

import msgspec

from zdiffsync.config.units import duration_key


class HooksConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table; docs/config.md describes every key."""

    before_snapshot: str | None = None
    after_run: str | None = None
    on_failure: str | None = None
    timeout: str | int = "1h"

    def __post_init__(self) -> None:
        """Check what types alone cannot. ValueError names the key."""
        if self.patience() <= timedelta():
            raise ValueError("timeout must be more than nothing")

    def patience(self) -> timedelta:
        """Return how long a hook may take."""
        return duration_key(self, "timeout")
