"""Completion in real shells: what is typed, what Tab makes of it, what the command then gets."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from zdiffsync.catalog.catalog import Catalog
from zdiffsync.cli.text import local
from zdiffsync.format.manifest import Header, NameRecord, ObjectRecord, Summary, VersionRecord
from zdiffsync.model.entry import Entry, EntryType

PROGRAM = Path(sys.executable).with_name("zdiffsync")
TIME = 1_764_000_000
FOLDER, FILE = (Entry(kind, 0o755, 0, 0, TIME * 10**9) for kind in (EntryType.DIRECTORY, EntryType.FILE))
NAMES = {
    b"docs": FOLDER, b"docs/letter": FILE, b"docs/letters": FOLDER, b"docs/my plan (new).txt": FILE,
    b"docs/12:30, x": FILE, b"docs/gr\xc3\xbcn": FILE, b"docs/odd\n": FILE, b"docs/inv\xff": FILE,
    b"only": FILE,
}  # fmt: skip
STUB = """#!{python} -S
import json, os, sys
if "_ZDIFFSYNC_COMPLETE" in os.environ:
    os.execv({program!r}, [{program!r}])
print("got" + json.dumps(sys.argv[3:]) + "end")
"""


def records():
    numbers = {b"": 1}
    found = [ObjectRecord(1, 34, 1, b""), VersionRecord(1, FOLDER, None)]
    for path, entry in NAMES.items():
        numbers[path] = number = len(numbers) + 1
        head, _, name = path.rpartition(b"/")
        found += [ObjectRecord(number, 100 + number, 1, None), VersionRecord(number, entry, None)]
        found.append(NameRecord(numbers[head], name, number))
    return sorted(found, key=lambda record: not isinstance(record, ObjectRecord))


def header(dataset, number):
    return Header(
        "r" * 32, f"{number // 10:016x}", number % 10, number % 10, f"{0xA0 + number:02x}" + "5" * 14,
        dataset, 7, "h", f"{dataset}@s{number}", number + 1, 1, (TIME + 3600 * number) * 10**9,
        number or None, None, 1, "",
    )  # fmt: skip


@pytest.fixture(params=[1, 2], ids=["one dataset", "two datasets"])
def home(request, tmp_path):
    """A user's machine: configuration, catalog, a `zdiffsync` that shows what it is given; no remote."""
    keys = {"remote": "/none", "state_dir": f"{tmp_path}/state", "password_file": f"{tmp_path}/password"}
    (tmp_path / "config.toml").write_text("".join(f"{key} = {json.dumps(keys[key])}\n" for key in keys))
    (tmp_path / "password").touch(0o600)
    (tmp_path / "password").write_bytes(b"secret")
    (tmp_path / "state").mkdir()
    with Catalog(tmp_path / "state/catalog.sqlite") as catalog:
        catalog.apply([header("tank/data", 0), *records(), Summary({})])
        catalog.apply([header("tank/data", 1), Summary({})])
        if request.param == 2:
            catalog.apply([header("tank/more", 10), *records(), Summary({})])
    stub = tmp_path / "bin/zdiffsync"
    stub.parent.mkdir()
    stub.write_text(STUB.format(python=sys.executable, program=str(PROGRAM)))
    stub.chmod(0o755)
    return tmp_path


def source(home, shell):
    """Write the shell's completion to a file, as the documentation says; return a set-up that reads it."""
    environment = os.environ | {"_ZDIFFSYNC_COMPLETE": f"{shell}_source"}
    script = subprocess.run([PROGRAM], env=environment, check=True, capture_output=True).stdout
    (home / "completion").write_bytes(script)
    load = f"PATH={home}/bin:$PATH; PS1=; unset PROMPT_COMMAND; "
    if shell == "zsh":
        load += f"autoload -Uz compinit; compinit -u -d {home}/dump; "
    return f"{load}. {home}/completion"


@pytest.fixture(params=["bash --norc --noprofile -i", "zsh -f -i"], ids=["bash", "zsh"])
def tab(request, home):
    """A function that types a line, Tab and Enter, and returns what the command was given."""
    shell = request.param.split()[0]
    load = source(home, shell)

    def press(text):
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(home)
            words = request.param.split()
            os.execvpe(words[0], words, os.environ | {"TERM": "dumb", "LC_ALL": "C.UTF-8", "HOME": str(home)})
        os.write(terminal, f"{load}; echo rea''dy\n".encode())
        read_until(terminal, rb"ready\r\n")
        os.write(terminal, f"zdiffsync -c {home}/config.toml {text}\t\n".encode())
        found = read_until(terminal, rb"got(\[.*?\])end")
        os.write(terminal, b"exit\n")
        os.close(terminal)
        os.waitpid(pid, 0)
        return json.loads(found[1])

    return press


def read_until(terminal, pattern):
    seen = b""
    while not (found := re.search(pattern, seen, re.DOTALL)):
        try:
            more = os.read(terminal, 4096)
        except OSError:
            more = b""
        assert more, seen.decode(errors="replace")
        seen += more
    return found


LINES = [
    ("cat late", ["cat", "latest"]),
    ("cat latest:on", ["cat", "latest:only"]),
    ("cat latest:do", ["cat", "latest:docs/"]),
    ("cat latest:docs/my", ["cat", "latest:docs/my plan (new).txt"]),
    (r"cat latest:docs/my\ pl", ["cat", "latest:docs/my plan (new).txt"]),
    ("cat 'latest:docs/my pl", ["cat", "latest:docs/my plan (new).txt"]),
    ("cat latest:docs/12:", ["cat", "latest:docs/12:30, x"]),
    ("cat latest:docs/gr", ["cat", "latest:docs/grün"]),
    ("cat a0", ["cat", "a0555555"]),
    ("cat a0:docs/letters", ["cat", "a0:docs/letters/"]),
    ("cat tank/data@s0:on", ["cat", "tank/data@s0:only"]),
    ("cat latest:docs/od", ["cat", "latest:docs/od"]),
    ("cat latest:nowhere/x", ["cat", "latest:nowhere/x"]),
    ("cat nothing:on", ["cat", "nothing:on"]),
    ("ls -l latest:docs/letters", ["ls", "-l", "latest:docs/letters/"]),
    ("ls --as-of yesterday on", ["ls", "--as-of", "yesterday", "only"]),
    ("history docs/letters", ["history", "docs/letters/"]),
    ("history on", ["history", "only"]),
    ("restore latest:docs/letter docs/my", ["restore", "latest:docs/letter", "docs/my plan (new).txt"]),
    ("diff a0 a1 on", ["diff", "a0", "a1", "only"]),
    ("find --in latest:do", ["find", "--in", "latest:docs/"]),
    ("points ta", ["points", "tank/data"]),
]
LINES_OF_TWO = [
    ("cat tank/m", ["cat", "tank/more@latest"]),
    ("cat tank/more@latest:on", ["cat", "tank/more@latest:only"]),
    ("history tank/m", ["history", "tank/more:"]),
    ("history tank/more:on", ["history", "tank/more:only"]),
    ("ls --as-of yesterday tank/more:on", ["ls", "--as-of", "yesterday", "tank/more:only"]),
    ("run tank/m", ["run", "tank/more"]),
]


@pytest.mark.parametrize("home", [1], indirect=True)
def test_tab_with_one_dataset(tab):
    for text, given in LINES:
        assert tab(text) == given, text


@pytest.mark.parametrize("home", [2], indirect=True)
def test_tab_with_two_datasets(tab):
    for text, given in LINES_OF_TWO:
        assert tab(text) == given, text


@pytest.mark.parametrize("home", [1], indirect=True)
def test_fish(home):
    def offered(text):
        code = f"source {home}/completion; complete -C 'zdiffsync -c {home}/config.toml {text}'"
        environment = os.environ | {"PATH": f"{home}/bin:{os.environ['PATH']}", "HOME": str(home)}
        out = subprocess.run(["fish", "-c", code], env=environment, check=True, capture_output=True).stdout
        return dict(line.partition("\t")[::2] for line in out.decode().splitlines())

    source(home, "fish")
    assert list(offered("cat latest:docs/")) == [
        "latest:docs/12:30, x", "latest:docs/grün", "latest:docs/letter", "latest:docs/letters/",
        "latest:docs/my plan (new).txt",
    ]  # fmt: skip
    assert offered("cat a1") == {"a1555555": f"{local((TIME + 3600) * 10**9)}, increment"}


@pytest.mark.parametrize("home", [1], indirect=True)
@pytest.mark.parametrize("harm", ["config.toml", "state/catalog.sqlite"])
def test_what_does_not_work_is_silent(home, harm):
    (home / harm).write_bytes(b"\0 not that")
    words = f"zdiffsync -c {home}/config.toml cat latest:"
    environment = os.environ | {"_ZDIFFSYNC_COMPLETE": "zsh_complete", "COMP_WORDS": words, "COMP_CWORD": "4"}
    done = subprocess.run([PROGRAM], env=environment, check=True, capture_output=True)
    assert (done.stdout, done.stderr) == (b"\n", b"")
    assert (home / harm).read_bytes() == b"\0 not that"
