"""How the tripwire is set. Rule: imports nothing that judges, for every command reads the configuration."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TripwireSettings:
    """`deleted` and `changed` as shares of a dataset's files; fewer than `min_files` files never trip."""

    enabled: bool = True
    deleted: float = 0.3
    changed: float = 0.5
    min_files: int = 100
