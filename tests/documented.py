"""The commands that the documentation shows, page by page, in the order in which a reader meets them.

Rule: a line of a code block that begins with a program's name is a command; what it prints is not.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = (
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "zdiffsync").rglob("*.md")),
)
PROGRAMS = (
    "zdiffsync", "zfs", "zpool", "rclone", "restic", "python3", "fusermount3", "ls", "apt-get", "apt", "pip",
    "pipx", "dpkg", "ln", "git", "sudo", "systemctl", "journalctl", "createuser", "createdb", "psql",
    "ssh", "curl", "man", "mkdir",
)  # fmt: skip
_COMMAND = re.compile(
    rf"(?:[$#] )?((?:{'|'.join(PROGRAMS)}|(?:\S*/)?scripts/\S+|/opt/\S+) .*|scripts/\S+|zdiffsync)"
)
_PLACEHOLDER = re.compile(r"\[|…|\.\.\.|\b[A-Z]{2,}\b|\b[AB]\b")


@dataclass(frozen=True, slots=True)
class Shown:
    """One command as the page has it; `line` counts from 1."""

    page: str
    line: int
    text: str

    @property
    def is_pattern(self) -> bool:
        """Whether it shows how a command is written, not one to type."""
        return self.text.startswith("zdiffsync") and bool(_PLACEHOLDER.search(self.text))

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def shown(page: Path) -> list[Shown]:
    """Return the commands of a page."""
    found = []
    fence: str | None = None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            fence = line.strip("` ") or "text" if fence is None else None
        elif (fence in {"sh", "text"} or (fence is None and line.startswith("    "))) and (
            command := _COMMAND.fullmatch(line.strip())
        ):
            text = re.sub(r"\s{2,}# .*", "", command[1])
            found.append(Shown(str(page.relative_to(ROOT)), number, text))
    return found
