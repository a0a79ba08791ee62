"""The configuration file: TOML, typed, with a default for everything but the remote and datasets.

Read once by the command line. Rule: what cannot be understood is an error that names the key and,
where there is one, the key that was probably meant.
"""

import difflib
import os
import re
import socket
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from zdiffsync.config.hooks import HooksConfig
from zdiffsync.config.keep import KeepConfig
from zdiffsync.config.notify import NotifyConfig
from zdiffsync.config.remotes import RemoteConfig, alone, check_datasets, goes_to, unique
from zdiffsync.config.tripwire import TripwireConfig
from zdiffsync.config.units import duration_key, parse_size
from zdiffsync.errors import ConfigError
from zdiffsync.external.rclone_presets import Preset, PresetName, preset_for, rclone_options
from zdiffsync.format.manifest_values import MAX_DEPTH, MAX_WHOLE
from zdiffsync.maintain.policy import KeepRules
from zdiffsync.maintain.prune_settings import PruneSettings

_DATASET_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:/ %-]*")
_Converted = TypeVar("_Converted", bound=msgspec.Struct)
_SYSTEM = Path("/etc/zdiffsync/config.toml")
_TABLES: dict[str, type[msgspec.Struct]] = {
    "tripwire": TripwireConfig,
    "hooks": HooksConfig,
    "notify": NotifyConfig,
}


class DatasetConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One [[dataset]] table.

    `exclude` adds gitignore patterns to the global ones, `keep` replaces it; `snapshots` are globs for what
    stands behind the @.
    """

    name: str
    recursive: bool = False
    exclude: list[str] = []
    keep: KeepConfig | None = None
    snapshots: str | list[str] | None = None

    def __post_init__(self) -> None:
        """Refuse a name that `zfs` would take for an option, a snapshot or several arguments."""
        if not _DATASET_NAME.fullmatch(self.name):
            raise ValueError(f"name: {self.name!r} is no ZFS dataset; write it like 'tank/data'")
        if self.snapshots in ("", []) or any("@" in glob or not glob for glob in self.globs):
            raise ValueError("snapshots: write what stands behind the @, like 'zrepl_*'")

    def includes(self, dataset: str) -> bool:
        """Whether `dataset` is this one, or is taken along as one of its children."""
        return dataset == self.name or (self.recursive and dataset.startswith(f"{self.name}/"))

    @property
    def globs(self) -> tuple[str, ...]:
        """`snapshots` as globs; none when a run takes snapshots of its own."""
        return (self.snapshots,) if isinstance(self.snapshots, str) else tuple(self.snapshots or ())


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file; docs/config.md describes every key."""

    remote: str
    password_file: str
    dataset: list[DatasetConfig] = []
    exclude: list[str] = []
    host: str = msgspec.field(default_factory=socket.gethostname)
    state_dir: str = msgspec.field(default_factory=lambda: str(_default_state()))
    staging_dir: str | None = None
    staging_space: str | int = "1GiB"
    preset: PresetName | None = None
    pack_size: str | int | None = None
    large_file: str | int = "1MiB"
    max_delta_depth: Annotated[int, msgspec.Meta(le=MAX_DEPTH)] = 8
    upload_rate: str | int | None = None
    base_every: str | int = "30d"
    base_when_increments_exceed: float = 0.5
    given_transfers: int | None = msgspec.field(default=None, name="transfers")
    tpslimit: Annotated[float, msgspec.Meta(gt=0)] | None = None
    bwlimit: str | None = None
    cache_size: str | int = "1GiB"
    catalog: str | None = None
    keep: KeepConfig | None = None
    prune_grace: str | int = "20h"
    prune_max_unused: float = 0.1
    tripwire: TripwireConfig = msgspec.field(default_factory=TripwireConfig)
    hooks: HooksConfig = msgspec.field(default_factory=HooksConfig)
    notify: NotifyConfig = msgspec.field(default_factory=NotifyConfig)
    stale_after: str | int = "36h"
    metrics_file: str | None = None

    def __post_init__(self) -> None:
        """Check what types alone cannot. ValueError names the key."""
        self._check_sizes()
        if self.prune_settings().grace < timedelta():
            raise ValueError("prune_grace must not be negative")
        if self.stale_age() <= timedelta():
            raise ValueError("stale_after must be more than nothing")
        if not 0 <= self.prune_max_unused <= 1:
            raise ValueError("prune_max_unused must be from 0 to 1")
        if self.base_age() < timedelta():
            raise ValueError("base_every must not be negative")
        if not self.host.isprintable() or not self.host:
            raise ValueError("host must be a name that can be printed")
        if self.given_transfers is not None and self.given_transfers < 1:
            raise ValueError("transfers must be at least 1")
        names = [item.name for item in self.dataset]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"dataset {twice[0]!r} is named twice")
        for key, low in (("max_delta_depth", 0), ("base_when_increments_exceed", 0)):
            if not getattr(self, key) >= low:  # so that nan is refused, too
                raise ValueError(f"{key} must be at least {low}")

    def _check_sizes(self) -> None:
        for key in ("staging_space", "pack_size", "large_file", "upload_rate", "cache_size"):
            if getattr(self, key) is not None and self.size(key) < 1:
                raise ValueError(f"{key} must be at least 1 byte")
        if self.size("large_file") > MAX_WHOLE:
            raise ValueError("large_file must be at most 1GiB: smaller files are read into memory whole")

    def size(self, key: str) -> int:
        """Return the size key `key` in bytes; a `pack_size` that is not set is the preset's."""
        if key == "pack_size" and self.pack_size is None:
            return self._preset.pack_size
        try:
            return parse_size(getattr(self, key))
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error

    @property
    def _preset(self) -> Preset:
        return preset_for(self.remote, self.preset)

    @property
    def transfers(self) -> int:
        """Objects that rclone moves at the same time."""
        return self._preset.transfers if self.given_transfers is None else self.given_transfers

    @property
    def rclone_options(self) -> dict[str, str]:
        """Variables that rclone gets for this remote, besides those that every remote has."""
        return rclone_options(self.remote, self._preset, self.tpslimit)

    def prune_settings(self) -> PruneSettings:
        """Return when prune deletes and writes anew."""
        return PruneSettings(duration_key(self, "prune_grace"), self.prune_max_unused)

    def base_age(self) -> timedelta:
        """Return `base_every`."""
        return duration_key(self, "base_every")

    def stale_age(self) -> timedelta:
        """Return `stale_after`."""
        return duration_key(self, "stale_after")

    def keep_rules(self, dataset: str) -> KeepRules:
        """Return what `forget` keeps of a dataset: its own table's rules, else those for all, else none."""
        tables = [item for item in self.dataset if item.includes(dataset)]
        nearest = max(tables, key=lambda item: len(item.name), default=None)
        keep = self.keep if nearest is None or nearest.keep is None else nearest.keep
        return KeepRules() if keep is None else keep.rules()

    @property
    def state(self) -> Path:
        """Where the catalog, the lock and caches live."""
        return Path(self.state_dir).expanduser()

    @property
    def cache(self) -> Path:
        """Where what was read from the remote is kept; may be deleted at any time."""
        return self.state / "cache"

    @property
    def staging(self) -> Path:
        """Where packs wait for their upload."""
        return Path(self.staging_dir).expanduser() if self.staging_dir else self.state / "staging"


def _default_state() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/zdiffsync")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "zdiffsync"


def default_path() -> Path:
    """Return the configuration file that is used when none is named."""
    if os.geteuid() == 0:
        return _SYSTEM
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "zdiffsync/config.toml"


def load(path: Path, repo: str | None = None) -> Config:
    """Read and check the file; of several remotes return the one named `repo`, else the first.

    Raises ConfigError: one sentence with file, key and what to do.
    """
    configs = load_all(path)
    if repo is None:
        return next(iter(configs.values()))
    if repo not in configs:
        named = ", ".join(configs)
        raise ConfigError(
            f"{path} has no [[remote]] table named {repo!r}"
            + (f"; there is {named}" if named else ": its one remote has no name; leave out --repo")
        )
    return configs[repo]


def load_all(path: Path) -> dict[str, Config]:
    """Read and check the file; return what holds for each remote, by its name ('': the only one)."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no configuration file {path}; run zdiffsync init") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    try:
        if isinstance(tables := values.get("remote"), list):
            return _of_several(values, tables)
        return {"": _converted(values, Config)}
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def _converted(values: object, kind: type[_Converted]) -> _Converted:
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise ValueError(_explain(error, kind)) from error


def _of_several(values: dict[str, Any], tables: list[Any]) -> dict[str, Config]:
    remotes = unique([_converted(table, RemoteConfig) for table in tables])
    configs = {}
    for remote in remotes:
        try:
            configs[remote.name] = _converted(alone(values, remote), Config)
        except ValueError as error:
            raise ValueError(f"remote {remote.name!r}: {error}") from error
    check_datasets(remotes, [item.name for item in configs[remotes[0].name].dataset])
    return {remote.name: _of_remote(configs[remote.name], remote) for remote in remotes}


def _of_remote(config: Config, remote: RemoteConfig) -> Config:
    """Give one of several remotes its own folders and its datasets."""
    return msgspec.structs.replace(
        config,
        state_dir=os.path.join(config.state_dir, remote.name),
        staging_dir=None if config.staging_dir is None else os.path.join(config.staging_dir, remote.name),
        dataset=[item for item in config.dataset if goes_to(remote, item.name)],
    )


def _explain(error: msgspec.ValidationError, kind: type[msgspec.Struct]) -> str:
    text = str(error)
    table, place = kind, " in a [[remote]] table" if kind is RemoteConfig else ""
    if match := re.search(r"unknown field `([^`]+)`", text):
        if ".keep`" in text:
            table, place = KeepConfig, " in a keep table"
        elif found := next((name for name in _TABLES if f"$.{name}" in text), None):
            table, place = _TABLES[found], f" in the [{found}] table"
        elif "$.dataset" in text:
            table, place = DatasetConfig, " in a [[dataset]] table"
        known = [field.encode_name for field in msgspec.structs.fields(table)]
        close = difflib.get_close_matches(match[1], known, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else f"; known keys: {', '.join(known)}"
        return f"unknown key '{match[1]}'{place}{hint}"
    if match := re.search(r"missing required field `([^`]+)`", text):
        return f"key '{match[1]}' is missing{place}"
    return text.replace("`", "'")
