"""The `keep` tables of the configuration: which points `forget` keeps.

Rule: the words are those of KeepRules, which reads and checks them.
"""

import msgspec

from zdiffsync.maintain.policy import KeepRules


class KeepConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The [keep] table, or that of a dataset."""

    last: str | int | None = None
    hourly: str | int | None = None
    daily: str | int | None = None
    weekly: str | int | None = None
    monthly: str | int | None = None
    yearly: str | int | None = None
    within: str | None = None
    within_hourly: str | None = None
    within_daily: str | None = None
    within_weekly: str | None = None
    within_monthly: str | None = None
    within_yearly: str | None = None
    tags: list[str] = []

    def __post_init__(self) -> None:
        """Check what types alone cannot. ValueError names the key."""
        self.rules()

    def rules(self) -> KeepRules:
        """Return them as values."""
        return KeepRules.parse(msgspec.structs.asdict(self))
