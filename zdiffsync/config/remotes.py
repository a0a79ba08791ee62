"""The `[[remote]]` tables of the configuration: several places, each with chains of its own.

Between the file and Config: of the file and one table it makes the values of a file with that remote alone,
so nothing else knows that there are several. Rule: a key in a table takes the place of the same key at the
top.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from zdiffsync.config.keep import KeepConfig
from zdiffsync.external.rclone_env import shown

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_OWN_KEYS = frozenset({"name", "url", "datasets"})


class RemoteConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One [[remote]] table; what is not `name`, `url` or `datasets` is a key of the top."""

    name: str
    url: str
    datasets: list[str] = []
    password_file: str | None = None
    preset: str | None = None
    pack_size: str | int | None = None
    upload_rate: str | int | None = None
    base_every: str | int | None = None
    base_when_increments_exceed: float | None = None
    transfers: int | None = None
    tpslimit: float | None = None
    bwlimit: str | None = None
    cache_size: str | int | None = None
    keep: KeepConfig | None = None
    prune_grace: str | int | None = None
    prune_max_unused: float | None = None

    def __post_init__(self) -> None:
        """Refuse a name that is no good folder or word on the command line."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name: {self.name!r} is no short word; write it like 'home' or 'cloud-2'")


def unique(remotes: Sequence[RemoteConfig]) -> Sequence[RemoteConfig]:
    """Return the remotes, of which there are some and no two the same. Raises ValueError."""
    if not remotes:
        raise ValueError("remote is empty; name a place to back up to")
    for key in ("name", "url"):
        given = [getattr(remote, key) for remote in remotes]
        if twice := [value for value in given if given.count(value) > 1]:
            raise ValueError(f"two [[remote]] tables have the {key} {shown(twice[0])!r}")
    return remotes


def alone(values: Mapping[str, Any], remote: RemoteConfig) -> dict[str, Any]:
    """Return the file's `values` as they would be with this remote only."""
    overrides = {
        field: value
        for field in remote.__struct_fields__
        if field not in _OWN_KEYS and (value := getattr(remote, field)) is not None
    }
    return {**values, **msgspec.to_builtins(overrides), "remote": remote.url}


def check_datasets(remotes: Sequence[RemoteConfig], names: Sequence[str]) -> None:
    """Raise ValueError for a dataset of a remote that is not among `names`, and for one without a remote."""
    for remote in remotes:
        if unknown := [name for name in remote.datasets if name not in names]:
            raise ValueError(f"remote {remote.name!r}: there is no [[dataset]] table named {unknown[0]!r}")
    if left := [name for name in names if not any(goes_to(remote, name) for remote in remotes)]:
        raise ValueError(f"dataset {left[0]!r} goes to no remote; add it to the datasets of one")


def goes_to(remote: RemoteConfig, dataset: str) -> bool:
    """Whether the dataset of this [[dataset]] table is backed up to the remote."""
    return not remote.datasets or dataset in remote.datasets
