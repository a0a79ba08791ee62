"""Names of objects on the remote. Rule: opaque, [a-z0-9._/-], never telling what is inside."""

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from zdiffsync.errors import ChainError, IntegrityError

_PACK = re.compile(r"packs/([0-9a-f]{2})/(\1[0-9a-f]{30})")
_PACK_ID = re.compile(r"[0-9a-f]{32}")
_MANIFEST = re.compile(r"points/([0-9a-f]{16})/([0-9]{6,18})-([0-9]{6,18})\.([0-9]{1,18})\.manifest")


@dataclass(frozen=True, slots=True, order=True)
class ManifestName:
    """The manifest of the changes `first` to `last` of a chain, and of the point `last`.

    Points merged into another, packs written anew and repairs make manifests anew: of the same range the
    one with the highest `revision` holds, and a wider one takes the place of all within it.
    """

    chain: str
    first: int
    last: int
    revision: int = 0

    def __str__(self) -> str:
        return f"points/{self.chain}/{self.first:06d}-{self.last:06d}.{self.revision}.manifest"

    def supersedes(self, other: "ManifestName") -> bool:
        """Whether this one holds instead of `other`."""
        if self.chain != other.chain or not self.first <= other.first <= other.last <= self.last:
            return False
        wider = (self.first, self.last) != (other.first, other.last)
        return wider or self.revision > other.revision


def new_pack_id() -> str:
    """Return a random pack id of 32 hex digits."""
    return secrets.token_hex(16)


def pack_name(pack: str) -> str:
    """Return the object name of a pack. Raises IntegrityError for what is no pack's id."""
    if not _PACK_ID.fullmatch(pack):
        raise IntegrityError(f"{pack!r} is no pack; what names it is damaged")
    return f"packs/{pack[:2]}/{pack}"


def parse_pack_name(name: str) -> str:
    """Return the pack id. Raises IntegrityError for a name that is no pack's."""
    match = _PACK.fullmatch(name)
    if match is None:
        raise IntegrityError(f"{name} on the remote is no pack; move it away")
    return match[2]


def parse_manifest_name(name: str) -> ManifestName:
    """Return what `str` of it is `name`. Raises IntegrityError for a name that is no manifest's."""
    if match := _MANIFEST.fullmatch(name):
        parsed = ManifestName(match[1], int(match[2]), int(match[3]), int(match[4]))
        if str(parsed) == name and parsed.first <= parsed.last:
            return parsed
    raise IntegrityError(f"{name} on the remote is no manifest; move it away")


def current_manifests(names: Iterable[ManifestName]) -> dict[str, list[ManifestName]]:
    """Return the manifests that hold, each chain's in order; those superseded are left out.

    Raises ChainError when two overlap or one is missing in between.
    """
    chains: dict[str, list[ManifestName]] = {}
    # The first of all that begin at one sequence is the widest and newest: it holds instead of the others.
    for name in sorted(names, key=lambda each: (each.chain, each.first, -each.last, -each.revision)):
        kept = chains.setdefault(name.chain, [])
        if kept and kept[-1].supersedes(name):
            continue
        expected = kept[-1].last + 1 if kept else 0
        if name.first != expected:
            raise ChainError(
                f"chain {name.chain} on the remote has no manifest that begins with point {expected}, "
                f"but {name}; was it deleted or moved by hand?"
            )
        kept.append(name)
    return chains
