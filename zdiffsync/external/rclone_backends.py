"""What kind of storage lies below a remote: rclone's configuration, read through all wrapping remotes.

Asked when presets are chosen. Sections hold secrets: what leaves this module are kinds and names of keys.
Rule: what cannot be found out is no error here, since rclone itself says it better when the remote is used.
"""

import functools
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from zdiffsync.errors import ToolError
from zdiffsync.external.process import run_tool
from zdiffsync.external.rclone_env import find_rclone

_TIMEOUT = 60.0  # seconds; touches no network
_WRAPPING = frozenset({"alias", "crypt", "chunker", "compress", "hasher", "cache", "union", "combine"})
_PARAMETER = re.compile(r""",([\w-]+)(?:=("(?:[^"]|"")*"|'(?:[^']|'')*'|[^,:"']*))?""")
_UNION_ROLE = re.compile(r":(?:ro|nc|writeback)$")


@dataclass(frozen=True, slots=True)
class Backend:
    """One storage: rclone's word for its kind, and the keys of its section that are set."""

    kind: str
    keys: frozenset[str]


def backends(remote: str) -> frozenset[Backend]:
    """Return what lies below `remote` (a path, `name:path` or a connection string); several for a union."""
    return frozenset(_below(remote, frozenset()))


def _below(remote: str, passed: frozenset[str]) -> Iterator[Backend]:
    section = _section(remote)
    kind = section.get("type", "")
    if kind in _WRAPPING and remote not in passed:
        for inner in _inner(kind, section):
            yield from _below(inner, passed | {remote})
    else:
        yield Backend(kind, frozenset(section))


def _inner(kind: str, section: Mapping[str, str]) -> list[str]:
    if kind not in {"union", "combine"}:
        return [section["remote"]] if "remote" in section else []
    with suppress(ValueError):  # an odd quote
        upstreams = shlex.split(section.get("upstreams", ""))
        if kind == "combine":
            return [upstream.partition("=")[2] for upstream in upstreams]
        return [_UNION_ROLE.sub("", upstream) for upstream in upstreams]
    return []


def _section(remote: str) -> dict[str, str]:
    """Return what is configured of a remote, its kind under `type`; {} where nothing is known."""
    if remote.startswith("/"):
        return {"type": "local"}
    head = re.match(r"(:?)([\w.+@ -]*)", remote)
    assert head is not None, "matches whatever there is"
    found: dict[str, str] = {}
    if head[1]:
        found["type"] = head[2]
    else:
        found |= _configuration().get(head[2], {})
        prefix = f"RCLONE_CONFIG_{head[2].upper().replace('-', '_')}_"
        found |= {
            name.removeprefix(prefix).lower(): value
            for name, value in os.environ.items()
            if name.startswith(prefix)
        }
    place = head.end()
    while match := _PARAMETER.match(remote, place):
        value = match[2] if match[2] is not None else "true"
        quote = value[:1]
        found[match[1]] = value[1:-1].replace(quote * 2, quote) if quote in {'"', "'"} else value
        place = match.end()
    return found


@functools.cache
def _configuration() -> dict[str, dict[str, str]]:
    """Return rclone's configuration file; nothing when it cannot be read (it may need a password)."""
    with suppress(ToolError, ValueError):
        done = run_tool(
            [find_rclone(), "config", "dump"], timeout=_TIMEOUT, env={"RCLONE_ASK_PASSWORD": "false"}
        )
        return {name: dict(section) for name, section in json.loads(done.stdout or b"{}").items()}
    return {}
