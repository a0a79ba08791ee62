"""The man pages: they are made without a warning, and have what the documentation has."""

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from zdiffsync.cli.main import group
from zdiffsync.config.config import Config
from zdiffsync.errors import ExitCode

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manual")
    subprocess.run([sys.executable, ROOT / "scripts/manual.py", folder], check=True)
    return folder


def _read(page):
    """The page as a terminal shows it; warnings of the formatter are failures."""
    shown = subprocess.run(
        ["groff", "-ww", "-man", "-K", "utf8", "-T", "utf8", "-P", "-cbou", "-r", "LL=100n", page],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stderr == ""
    return shown.stdout


def test_the_page_of_the_program_has_every_command_option_and_exit_code(pages):
    text = _read(pages / "zdiffsync.1")
    assert re.search(r"^NAME\n +zdiffsync - ", text, re.MULTILINE)
    for name in group.list_commands(None):
        assert re.search(rf"^   zdiffsync {name}$", text, re.MULTILINE), name
        for parameter in group.get_command(None, name).params:
            for option in parameter.opts if parameter.param_type_name == "option" else ():
                assert re.search(rf"^       (.*, )?{option}\b", text, re.MULTILINE), option
    for code in ExitCode:
        assert re.search(rf"^       {code.value} \({code.name.lower()}\)", text, re.MULTILINE), code
    for title in ("SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"):
        assert re.search(rf"^{title}$", text, re.MULTILINE), title
    assert not re.search(r"\]\(|%term%|\|--", text), "Markdown is left over"


def test_the_page_of_the_configuration_has_every_key(pages):
    text = _read(pages / "zdiffsync.toml.5")
    for field in msgspec.structs.fields(Config):
        assert re.search(rf"^       {field.encode_name} +\(", text, re.MULTILINE), field.encode_name
    assert 'pack_size = "256MiB"' in text
