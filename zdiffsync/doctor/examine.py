"""All checks, one after the other.

The one way into this package. Rule: a check that breaks is a finding, and the next one is made.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from zdiffsync.config.config import Config, load
from zdiffsync.doctor import clock, datasets, files, permissions, points, remote, tools
from zdiffsync.doctor.finding import Check, Finding, Patient, fail
from zdiffsync.errors import ConfigError, ZdiffsyncError

_CHECKS: tuple[tuple[str, Check], ...] = (
    ("tools", tools.check),
    ("config", files.check),
    ("permissions", permissions.check),
    ("datasets", datasets.check),
    ("remote", remote.check),
    ("clock", clock.check),
    ("points", points.check),
)


def examine(config_path: Path) -> Iterator[Finding]:
    """Yield what is found, in order; `config_path` may be missing or wrong. Raises nothing on purpose."""
    config: Config | None = None
    problem: Finding | None = None
    try:
        config = load(config_path)
    except ConfigError as error:
        fix = None if config_path.exists() else "zdiffsync init"
        problem = fail("config", str(error).partition("; run")[0], fix)
    patient = Patient(config_path, config)
    for topic, check in _CHECKS:
        if topic == "config" and problem is not None:
            yield problem
        try:
            yield from check(patient)
        except ZdiffsyncError as error:
            yield fail(topic, str(error))
        except OSError as error:
            place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
            yield fail(topic, f"{place}{error.strerror}")
