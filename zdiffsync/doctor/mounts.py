"""Mounts of ours whose process has died: looking into them fails until they are taken away.

Rule: they are named, not taken away: somebody's shell may stand in one.
"""

import shlex
from collections.abc import Iterator

from zdiffsync.doctor.finding import Finding, warning
from zdiffsync.external.fuse import dead_mounts


def check() -> Iterator[Finding]:
    """Yield a finding a dead mount."""
    for mount in dead_mounts():
        what = f"a zdiffsync mount at {mount} has died and is still there"
        yield warning("mount", what, f"fusermount3 -u -z {shlex.quote(mount)}")
