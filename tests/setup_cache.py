"""Where scripts/setup puts what it fetches; the rule is that of scripts/env."""

import os
from pathlib import Path


def setup_cache() -> Path:
    """Return the folder of the cache, as the environment names it now."""
    named = os.environ.get("ZDIFFSYNC_CACHE")
    return (
        Path(named)
        if named
        else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "zdiffsync")
    )


def path_with_tools() -> str:
    """Return a PATH on which there is a restic new enough: the system's, else the cache's."""
    return f"{os.environ['PATH']}:{setup_cache()}/bin"
