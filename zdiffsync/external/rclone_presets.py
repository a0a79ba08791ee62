"""What suits each kind of storage: sizes of packs, transfers, and how rclone is to treat it.

Chosen by the configuration's `preset`, else by what lies below the remote. docs/config.md says where the
figures are from. Rule: defaults only; what a person has set, here or for rclone, stands.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from zdiffsync.external.rclone_backends import Backend, backends

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Preset:
    """Defaults for one kind of storage: bytes of a pack, objects at once, transactions a second (None: any).

    `kinds` are rclone's words for it, `options` rclone's environment variables.
    """

    kinds: tuple[str, ...] = ()
    pack_size: int = 64 * _MIB
    transfers: int = 4
    tpslimit: float | None = None
    options: tuple[tuple[str, str], ...] = ()


PresetName = Literal["onedrive", "dropbox", "drive", "b2", "s3", "sftp", "local"]

# The one that must be treated most carefully first: it decides for a union of several.
PRESETS: dict[str, Preset] = {
    "onedrive": Preset(
        ("onedrive",), 256 * _MIB, 4, 10.0,
        (("RCLONE_CHECKERS", "4"), ("RCLONE_ONEDRIVE_CHUNK_SIZE", "50Mi")),
    ),
    "dropbox": Preset(("dropbox",), 256 * _MIB, 4, 12.0),
    "drive": Preset(("drive",), 256 * _MIB, 4, None, (("RCLONE_DRIVE_CHUNK_SIZE", "64Mi"),)),
    "b2": Preset(("b2",), 64 * _MIB, 16),
    "s3": Preset(("s3", "google cloud storage", "azureblob", "swift"), 64 * _MIB, 8),
    "sftp": Preset(("sftp", "ftp", "smb"), 64 * _MIB, 4, None, (("RCLONE_CHECKERS", "4"),)),
    "local": Preset(("local",), 64 * _MIB, 4),
}  # fmt: skip
_OTHER = Preset()


def preset_for(remote: str, name: str | None) -> Preset:
    """Return the preset called `name`, or where that is None the one for what lies below `remote`."""
    if name is not None:
        return PRESETS[name]
    kinds = {backend.kind for backend in backends(remote)}
    return next((preset for preset in PRESETS.values() if kinds & set(preset.kinds)), _OTHER)


def rclone_options(remote: str, preset: Preset, tpslimit: float | None) -> dict[str, str]:
    """Return the variables rclone gets; `tpslimit` was set by a person, None: take the preset's."""
    options = dict(preset.options)
    if preset.tpslimit is not None:
        options["RCLONE_TPSLIMIT"] = f"{preset.tpslimit:g}"
    taken = set(_taken(backends(remote))) | os.environ.keys()
    options = {name: value for name, value in options.items() if name not in taken}
    return options if tpslimit is None else options | {"RCLONE_TPSLIMIT": f"{tpslimit:g}"}


def _taken(found: Iterable[Backend]) -> Iterable[str]:
    """Yield the variables that would prevail over a key of rclone's configuration file."""
    for backend in found:
        for key in backend.keys - {"type"}:
            yield f"RCLONE_{backend.kind}_{key}".upper()
