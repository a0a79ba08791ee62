"""The `tripwire` table of the configuration: from when on a run asks before it backs up.

Rule: the words and defaults are those of TripwireSettings.
"""

import msgspec

from zdiffsync.backup.tripwire_settings import TripwireSettings

_DEFAULT = TripwireSettings()


class TripwireConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The [tripwire] table."""

    enabled: bool = _DEFAULT.enabled
    deleted: float = _DEFAULT.deleted
    changed: float = _DEFAULT.changed
    min_files: int = _DEFAULT.min_files

    def __post_init__(self) -> None:
        """Check what types alone cannot. ValueError names the key."""
        for key in ("deleted", "changed"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"{key} must be a share of the files, from 0 to 1")
        if self.min_files < 1:
            raise ValueError("min_files must be at least 1")

    def settings(self) -> TripwireSettings:
        """Return them as values."""
        return TripwireSettings(**msgspec.structs.asdict(self))
