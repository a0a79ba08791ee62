"""How prune is set. Rule: imports nothing that prunes, for every command reads the configuration."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class PruneSettings:
    """When something is deleted, and when packs are written anew.

    `grace`: how long after its condemnation; `max_unused`: once more than this share of all bytes in packs
    is unused.
    """

    grace: timedelta = timedelta(hours=20)
    max_unused: float = 0.1
