"""What `init` is to set up, and the configuration file that says so.

Between the flags or answers and the files. Rule: what can be wrong is found before anything is written.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from zdiffsync.errors import UsageError
from zdiffsync.maintain.policy import KeepRules

_RULES = frozenset(each.name for each in fields(KeepRules)) - {"tags"}


@dataclass(frozen=True, slots=True)
class Plan:
    """`datasets` as (name, with those below it); `keep` as in the configuration; `host` None: its name.

    `password` is one that a person typed for a repository that is there.
    """

    remote: str
    password_file: Path
    datasets: tuple[tuple[str, bool], ...] = ()
    state_dir: Path | None = None
    keep: Mapping[str, str] = field(default_factory=dict)
    host: str | None = None
    password: str | None = field(default=None, repr=False)

    def text(self) -> str:
        """Return the configuration file."""
        lines = [
            "# zdiffsync configuration; docs/config.md describes every key",
            f"remote = {json.dumps(self.remote)}",
            f"password_file = {json.dumps(str(self.password_file))}",
        ]
        if self.state_dir is not None:
            lines.append(f"state_dir = {json.dumps(str(self.state_dir))}")
        if self.host is not None:
            lines.append(f"host = {json.dumps(self.host)}")
        if self.keep:
            lines += ["", "[keep]"]
            lines += [
                f"{key} = {value if value.isdecimal() else json.dumps(value)}"
                for key, value in self.keep.items()
            ]
        for name, recursive in self.datasets:
            lines += ["", "[[dataset]]", f"name = {json.dumps(name)}"]
            lines += ["recursive = true"] if recursive else []
        return "\n".join(lines) + "\n"


def parse_keep(rules: Iterable[str]) -> dict[str, str]:
    """Return rules such as 'daily=7' by their names. Raises UsageError."""
    keep: dict[str, str] = {}
    for rule in rules:
        name, equals, value = rule.partition("=")
        if not (equals and value) or name not in _RULES:
            raise UsageError(f"{rule!r} is no keep rule; write it like daily=7 or within_weekly=1y")
        keep[name] = value
    try:
        KeepRules.parse({key: int(value) if value.isdecimal() else value for key, value in keep.items()})
    except ValueError as error:
        raise UsageError(f"keep rule {error}") from error
    return keep
