"""The clock: points are named and kept by it. The remote's is compared with it in doctor.remote.

Rule: no server but the remote is asked.
"""

from collections.abc import Iterator

from zdiffsync.doctor.finding import Finding, ok, warning
from zdiffsync.external.clock import synchronized


def check() -> Iterator[Finding]:
    """Yield whether it follows a time server."""
    found = synchronized()
    if found is None:
        yield ok("clock", "nobody here tells whether it follows a time server")
    elif found:
        yield ok("clock", "follows a time server")
    else:
        yield warning("clock", "follows no time server", "timedatectl set-ntp true")
