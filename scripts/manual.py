#!/usr/bin/env python3
"""Makes the man pages zdiffsync(1) and zdiffsync.toml(5) from docs/cli.md, docs/config.md and README.md.

Usage: scripts/manual.py FOLDER (needs the program lowdown). Tables become lists, links become words.
Rule: nothing is said here that the documentation does not say; what a manual adds is its frame.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = "/usr/share/doc/zdiffsync"
TERM = "%term%"  # marks the first line of a list's item until troff's own mark replaces it
PAGES = {"cli.md": "zdiffsync(1)", "config.md": "zdiffsync.toml(5)"}

COMMANDS = """# NAME

zdiffsync - off-site backup for ZFS whose nightly cost follows what changed

# SYNOPSIS

`zdiffsync` [*global options*] *COMMAND* …

# DESCRIPTION

{description}

# GLOBAL OPTIONS

{head}

{sections}

# ENVIRONMENT

{environment}

# FILES

{files}

# SEE ALSO

`zdiffsync.toml`(5), `zfs`(8), `restic`(1), `rclone`(1); all pages of the documentation lie in `{docs}`.
"""

SETTINGS = """# NAME

zdiffsync.toml - configuration of zdiffsync

# DESCRIPTION

{head}

{sections}

# SEE ALSO

`zdiffsync`(1)
"""


def main() -> None:
    """Write both pages into the folder that the command line names."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "zdiffsync.1").write_text(troff("zdiffsync", 1, commands()), encoding="utf-8")
    (folder / "zdiffsync.toml.5").write_text(troff("zdiffsync.toml", 5, settings()), encoding="utf-8")


def commands() -> str:
    """Give the Markdown of zdiffsync(1)."""
    head, sections = page("docs/cli.md")
    readme, readme_sections = page("README.md")
    parts = [f"## {title}\n\n{text}" for title, text in sections.items() if title.startswith("zdiffsync ")]
    rest = {title: text for title, text in sections.items() if not title.startswith("zdiffsync ")}
    status = rest.pop("Exit codes")
    ordered = [f"# {title.upper()}\n\n{text}" for title, text in rest.items()]
    paragraphs = [text for text in readme.split("\n\n") if not text.startswith(("!", "#"))]
    return COMMANDS.format(
        description=paragraphs[0] + "\n\n" + paragraphs[1],
        head=head.split("\n\n", 2)[2],
        sections="\n\n".join(["# COMMANDS", *parts, *ordered, f"# EXIT STATUS\n\n{status}"]),
        environment=page("docs/config.md")[1]["Environment"],
        files=readme_sections["Where things lie"],
        docs=DOCS,
    )


def settings() -> str:
    """Give the Markdown of zdiffsync.toml(5)."""
    head, sections = page("docs/config.md")
    parts = [f"# {title.upper()}\n\n{text}" for title, text in sections.items()]
    return SETTINGS.format(head=head, sections="\n\n".join(parts))


def page(name: str) -> tuple[str, dict[str, str]]:
    """Read a page: what stands before its first section, and the sections by title, made plain."""
    text = (ROOT / name).read_text(encoding="utf-8").partition("\n")[2]
    head, *sections = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)
    return plain(head).strip(), {
        title: plain(body).strip() for title, body in zip(sections[::2], sections[1::2], strict=True)
    }


def plain(text: str) -> str:
    """Turn tables into lists and links into words."""
    text = re.sub(r"^!\[.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r" \(\[(?:more|why|figures)\]\(([^)\s]+)\)\)", lambda found: aside(found[1]), text)
    text = re.sub(r"\[([^\]]+)\]\([^)\s]+\)", r"\1", text)
    return re.sub(r"(?:^\|.*\n?)+", lambda found: items(found[0]), text, flags=re.MULTILINE)


def aside(target: str) -> str:
    """Give what stands for a link in brackets: nothing where it leads to the page itself."""
    name = Path(target.partition("#")[0]).name
    return f" (see {PAGES.get(name, name)})" if name else ""


def items(table: str) -> str:
    """Turn a table into a list: the first column names an item, the last one describes it."""
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]
    text = []
    for term, *middle, meaning in rows:
        told = [name_of(title, cell) for title, cell in zip(head[1:-1], middle, strict=True)]
        text += [f"{TERM} {term}{''.join(told)}", meaning.strip("| ") or f"{middle[0].capitalize()}."]
    return "\n\n".join(text) + "\n\n"


def name_of(title: str, cell: str) -> str:
    """Give what a middle column adds to an item's name."""
    if title != "default" or cell in {"required", "none", "see below"}:
        return f" ({cell if title != 'default' or cell != 'none' else 'no default'})"
    return f" (default: {cell})"


def troff(name: str, section: int, text: str) -> str:
    """Have lowdown translate, and put in the macros that a manual reader expects."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    day = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    head = f"title: {name}\nsection: {section}\ndate: {day}\nsource: zdiffsync {version}\n\n"
    command = ["lowdown", "-s", "-tman", "--out-no-smarty"]
    made = subprocess.run(command, input=head + text, capture_output=True, text=True, check=True).stdout
    made = re.sub(r"^\.(SH|SS)\n(.*)", r".\1 \2", made, flags=re.MULTILINE)
    made = re.sub(rf"^\.[LP]P\n{TERM} (.*)\n\.PP\n", r".TP\n\1\n", made, flags=re.MULTILINE)
    made = re.sub(r"\\fC(.*?)\\fR", lambda found: rf"\fB{dashes(found[1])}\fR", made, flags=re.DOTALL)
    return re.sub(r"^\.EX\n.*?^\.EE$", lambda found: dashes(found[0]), made, flags=re.MULTILINE | re.DOTALL)


def dashes(text: str) -> str:
    """Make hyphens what a reader can copy into a shell."""
    return text.replace("-", r"\-")


if __name__ == "__main__":
    main()
