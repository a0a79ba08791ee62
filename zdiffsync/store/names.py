"""Names of objects on the remote. Rule: opaque, [a-z0-9._/-], never telling what is inside."""

import re
import secrets

from zdiffsync.errors import IntegrityError

_PACK = re.compile(r"packs/([0-9a-f]{2})/(\1[0-9a-f]{30})")
_MANIFEST = re.compile(r"points/([0-9a-f]{16})/([0-9]{6,})\.manifest")


def new_pack_id() -> str:
    """Return a random pack id of 32 hex digits."""
    return secrets.token_hex(16)


def pack_name(pack: str) -> str:
    """Return the object name of a pack."""
    return f"packs/{pack[:2]}/{pack}"


def parse_pack_name(name: str) -> str:
    """Return the pack id. Raises IntegrityError for a name that is no pack's."""
    match = _PACK.fullmatch(name)
    if match is None:
        raise IntegrityError(f"{name} on the remote is no pack; move it away")
    return match[2]


def manifest_name(chain: str, sequence: int) -> str:
    """Return the object name of a point's manifest."""
    return f"points/{chain}/{sequence:06d}.manifest"


def parse_manifest_name(name: str) -> tuple[str, int]:
    """Return (chain, sequence). Raises IntegrityError for a name that is no manifest's."""
    match = _MANIFEST.fullmatch(name)
    if match is None:
        raise IntegrityError(f"{name} on the remote is no manifest; move it away")
    return match[1], int(match[2])
