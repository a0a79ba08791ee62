"""All checks, one after the other.

The one way into this package. Rule: a check that breaks is a finding, and the next one is made.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from zdiffsync.config.config import Config, DatasetConfig, load, load_all
from zdiffsync.doctor import clock, datasets, files, mounts, nights, permissions, points, remote, tools
from zdiffsync.doctor.finding import Finding, fail
from zdiffsync.errors import ConfigError, explained
from zdiffsync.store.repository import remembered


def examine(config_path: Path, repo: str | None) -> Iterator[Finding]:
    """Yield what is found, in order; `repo` as in `load`. The configuration may be missing or wrong."""
    configs: Mapping[str, Config] = {}
    yield from _caught("tools", tools.check())
    try:
        configs = load_all(config_path) if repo is None else {repo: load(config_path, repo)}
    except ConfigError as error:
        fix = None if config_path.exists() else "zdiffsync init"
        yield fail("config", str(error).partition("; run")[0], fix)
    named = {item.name: item for config in configs.values() for item in config.dataset}
    wanted: tuple[DatasetConfig, ...] = tuple(named.values())
    if config_path.exists():
        yield from _caught("config", files.check_config(config_path, configs))
    for name, config in configs.items():
        yield from _of(name, _caught("files", files.check(config)))
    yield from _caught("permissions", permissions.check(wanted))
    yield from _caught("dataset", datasets.check(wanted))
    for name, config in configs.items():
        yield from _of(name, _caught("remote", remote.check(config)))
    yield from _caught("clock", clock.check())
    yield from _caught("mount", mounts.check())
    if wanted:
        yield from _caught("schedule", nights.check(next(iter(configs.values()))))
    known = frozenset(filter(None, (remembered(config.state / "repository") for config in configs.values())))
    for name, config in configs.items():
        yield from _of(name, _caught("points", points.check(config, known)))


def _caught(topic: str, check: Iterator[Finding]) -> Iterator[Finding]:
    try:
        yield from check
    except Exception as error:  # noqa: BLE001 - a bug in one check is not to hide what the others find
        yield fail(topic, explained(error)[0])


def _of(name: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    return (replace(finding, repo=name or None) for finding in findings)
