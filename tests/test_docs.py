"""The documentation against the program: every key, option, default, exit code and link."""

import re
import socket
from pathlib import Path

import click
import msgspec
import pytest

from zdiffsync.cli.main import group
from zdiffsync.config.config import Config, DatasetConfig, load
from zdiffsync.config.hooks import HooksConfig
from zdiffsync.config.keep import KeepConfig
from zdiffsync.config.notify import NotifyConfig
from zdiffsync.config.remotes import RemoteConfig
from zdiffsync.config.tripwire import TripwireConfig
from zdiffsync.errors import ExitCode

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


def _section(page: str, title: str) -> str:
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/{page} has no section '{title}'"
    return found[1]


def _rows(text: str) -> dict[str, list[str]]:
    """Cells of all table rows by their first cell, without heads and rules."""
    lines = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {cells[0].strip(): [cell.strip() for cell in cells] for cells in lines}


def _options(text: str) -> set[str]:
    return {name for cell in _rows(text) for name in re.findall(r"`(--?[a-zA-Z-]+)`", cell)}


def _of_command(command: click.Command) -> set[str]:
    names = {
        name for parameter in command.params if isinstance(parameter, click.Option)
        for name in (*parameter.opts, *parameter.secondary_opts)
    }  # fmt: skip
    if command is not group and isinstance(command, click.Group):
        names = names.union(*map(_of_command, command.commands.values()))
    return names


@pytest.mark.parametrize(
    ("title", "struct"),
    [
        ("Keys", Config),
        ("Keys of a `[[dataset]]` table", DatasetConfig),
        ("Keys of a `[[remote]]` table", RemoteConfig),
        ("Keys of a `keep` table", KeepConfig),
        ("Keys of the `[tripwire]` table", TripwireConfig),
        ("Keys of the `[hooks]` table", HooksConfig),
        ("Keys of the `[notify]` table", NotifyConfig),
    ],
)
def test_every_key_is_documented_with_its_default(title, struct):
    rows = {key.strip("`"): cells for key, cells in _rows(_section("config.md", title)).items()}
    del rows["key"]
    assert set(rows) == {field.encode_name for field in msgspec.structs.fields(struct)}
    for field in msgspec.structs.fields(struct):
        written = rows[field.encode_name][1]
        if field.name in {"host", "state_dir", "staging_dir", "tripwire", "hooks", "notify"}:
            continue
        if field.required:
            assert written == "required"
        elif field.default_factory is not msgspec.NODEFAULT:
            assert written == f"`{msgspec.json.encode(field.default_factory()).decode()}`"
        elif field.default is None:
            assert written == "none"
        else:
            assert written == f"`{msgspec.json.encode(field.default).decode()}`"


def test_defaults_that_depend_on_the_machine():
    config = Config(remote="/r", password_file="/p")
    assert config.host == socket.gethostname()
    assert config.staging == config.state / "staging"
    assert config.state_dir in {"/var/lib/zdiffsync", str(Path.home() / ".local/state/zdiffsync")}


def test_the_examples_are_valid_configurations(tmp_path):
    text = (DOCS / "config.md").read_text(encoding="utf-8")
    examples = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        path = tmp_path / "config.toml"
        path.write_text(example)
        assert load(path).dataset[0].name == "tank/data"


def test_every_command_and_option_is_documented():
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^## zdiffsync (\S+)$", text, re.MULTILINE))
    assert documented == set(group.list_commands(None))
    for name, command in {name: group.get_command(None, name) for name in documented}.items():
        assert _options(_section("cli.md", f"zdiffsync {name}")) == _of_command(command), name
    head = text.partition("\n## ")[0]
    assert _options(head) == _of_command(group) | {"-h", "--help"}


def test_every_exit_code_is_documented():
    rows = _rows(_section("cli.md", "Exit codes"))
    del rows["code"]
    assert {(int(code), cells[1]) for code, cells in rows.items()} == {
        (code.value, code.name.lower()) for code in ExitCode
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        assert there.exists(), f"{page.name} links to {target}"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in anchors, f"{page.name} links to {target}"
