"""Every command that the documentation shows, typed in the order in which a reader meets them, on real ZFS.

The machine is the one the pages speak of: a pool `tank`, a remote `onedrive:` (a directory, to rclone), root.
Rule: a command is played and succeeds, or `ELSEWHERE` says why not and what plays it instead.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import IN_LAB, sh

from documented import PAGES, ROOT, Shown, shown
from zdiffsync.external.rclone_env import find_rclone

pytestmark = pytest.mark.zfs

ELSEWHERE = {  # what is shown, and what plays it instead
    r"git |scripts/demo|man ": "the demonstration and the fresh machine set up their own",
    r"(apt-get|pipx?) |python3 -m venv|/opt/zdiffsync|ln -s|rclone config": "scripts/fresh-debian",
    r"scripts/fresh-debian": "it installs a Debian, which takes minutes",
    r"zdiffsync schedule|systemctl|journalctl": "tests/zfs/test_systemd.py",
    r"zdiffsync init$": "tests/cli/test_init_dialogue.py",
    r"zdiffsync notify": "tests/cli/test_unattended.py",
    r"zdiffsync web|ssh ": "tests/web",
    r"zdiffsync --repo": "tests/zfs/test_nights_on_remotes.py",
    r"create(user|db)": "tests/catalog",
    r"zdiffsync on tower": "a message",
    r"zfs (release|destroy|list -H)": "what is left after uninstalling: tests/zfs/test_other_tools.py",
    r"zfs (set|snapshot)|restic -r rclone:onedrive": "volumes, by restic alone",
    r"scripts/zfs-lab": "tests/test_lab.py",
    r"ls -l DIR/": "tests/mount",
}
CODES = {  # of commands that tell by their exit code what they found
    "zdiffsync doctor": (0, 3),  # nothing starts runs here
    "zdiffsync safe-to-destroy": (3,),  # the next run needs it
}
PLACEHOLDERS = {  # what stands for the words in capitals of docs/cli.md and RECOVERY.md
    "POINT": "latest", "PATH": "letters/2026.txt", "DATASET": "tank/data", "DIR": "/mnt/shown",
    "COMMAND": "points", "SNAPSHOT": "$(zfs list -Hd1 -t snapshot -o name tank/data)",
    "A": "'tank/data@yesterday 18:00'", "B": "latest",
}  # fmt: skip
RECOVERY = "zdiffsync/recovery/RECOVERY.md"
FORMS = {"--to-dataset DATASET": "--to-dataset tank/again", "forget [OPTIONS]": "forget --keep-last 5"}
CONFIG = Path("/etc/zdiffsync/config.toml")
OWN_PLACES = ("/etc/zdiffsync", "/var/lib/zdiffsync")


class Reader:
    """Somebody at the machine of the pages, with a shell. It is Monday at nine, and then Thursday at noon."""

    def __init__(self, home: Path) -> None:
        self.home, self.data = home, Path("/mnt/tank/data")
        programs = home / "bin"
        programs.mkdir()
        self._program(
            programs / "zdiffsync", f"exec {sys.executable} -c 'from zdiffsync.cli.main import main; main()'"
        )
        self._program(programs / "lp", "exec cat")
        (programs / "rclone").symlink_to(find_rclone())
        self.env = dict(os.environ) | {
            "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(home)
        }  # fmt: skip
        for remote in ("ONEDRIVE", "CLOUD"):
            self.env[f"RCLONE_CONFIG_{remote}_TYPE"] = "alias"
            self.env[f"RCLONE_CONFIG_{remote}_REMOTE"] = str(home / "cloud")

    def _program(self, path: Path, line: str) -> None:
        path.write_text(f'#!/bin/sh\n{line} "$@"\n')
        path.chmod(0o755)

    def type(self, command: str) -> str:
        """Type a command that must succeed (see `CODES`); return what it printed."""
        done = subprocess.run(
            ["bash", "-c", command], check=False, capture_output=True, text=True, timeout=300,
            env=self.env, cwd=self.home, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        codes = next((codes for begin, codes in CODES.items() if command.startswith(begin)), (0,))
        assert done.returncode in codes, (command, done.returncode, done.stdout[-1500:], done.stderr[-1500:])
        return done.stdout

    def make_data(self, pool: str) -> None:
        """Have on Monday what the pages speak of."""
        sh("date", "-s", "2026-11-23 09:00:00")
        Path("/mnt/shown").mkdir()
        sh("zfs", "create", "-o", "acltype=posixacl", "-o", "xattr=sa", f"{pool}/data")
        for name in ("letters/2026.txt", "photos/1.jpg", "invoice-7.pdf", "iso/debian.iso"):
            path = self.data / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{name}, the first version\n" * 50)

    def pass_the_days(self) -> None:
        """Have changes and another point on Thursday."""
        sh("date", "-s", "2026-11-26 12:00:00")
        (self.data / "letters/2026.txt").write_text("the second version\n" * 50)
        (self.data / "invoice-7.pdf").unlink()
        self.type("zdiffsync run")

    def lose_the_machine(self) -> None:
        """Leave only the password."""
        CONFIG.rename(f"{CONFIG}.away")
        for left in Path("/var/lib/zdiffsync").iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()

    def name_datasets(self) -> None:
        """Have in the configuration what was in it before the machine was lost."""
        Path(f"{CONFIG}.away").rename(CONFIG)

    def put_away(self) -> None:
        """Have a machine on which nothing is set up."""
        for place in self._set_up():
            place.rename(f"{place}.away")

    def put_back(self) -> None:
        for place in self._set_up():
            shutil.rmtree(place) if place.is_dir() else place.unlink()
            Path(f"{place}.away").rename(place)

    def _set_up(self) -> list[Path]:
        return [
            *map(Path, ("/etc/zdiffsync/config.toml", "/etc/zdiffsync/password")),
            self.home / "cloud/backup",
        ]

    def unmount(self) -> None:
        self.type("fusermount3 -u /mnt/shown")

    def fetch_password(self) -> None:
        shutil.copy("/etc/zdiffsync/password", self.home / "password")

    def know_ids(self, text: str) -> str:
        """Put real ids into a command that shows others."""
        found = json.loads(self.type("zdiffsync --json points"))["points"]
        mark = json.loads((self.home / "cloud/backup/zdiffsync.json").read_text())
        for word, real in (
            (r"\b81ac\b", found[-1]["point"][:4]),
            (r"\bREPOSITORY_ID\b", mark["repository"]),
            (r"\bID\b", "latest"),
        ):
            text = re.sub(word, real, text)
        return text


INIT = "docs/cli.md", "zdiffsync init --remote onedrive:backup --dataset tank/data"
JOIN = "docs/restore-guide.md", "zdiffsync init --remote onedrive:backup --host tower"
BEFORE = {  # what happens to the machine before a command of a page
    INIT: Reader.put_away,
    JOIN: Reader.lose_the_machine,
    (RECOVERY, "rclone copyto cloud:backup/recover.py recover.py"): Reader.fetch_password,
}
AFTER = {
    ("README.md", "zdiffsync run"): Reader.pass_the_days,
    INIT: Reader.put_back,
    ("docs/cli.md", "zdiffsync mount DIR"): Reader.unmount,
    JOIN: Reader.name_datasets,
}


@pytest.fixture(scope="module")
def reader(pool: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    assert IN_LAB, "these tests set the clock: run them in scripts/zfs-lab"
    made = [place for place in map(Path, OWN_PLACES) if not place.exists()]
    for place in map(Path, OWN_PLACES):
        place.mkdir(parents=True, exist_ok=True)
        sh("mount", "-t", "tmpfs", "tmpfs", str(place))
    person = Reader(tmp_path_factory.mktemp("reader"))
    person.make_data(pool)
    yield person
    for place in map(Path, OWN_PLACES):
        sh("umount", "-l", str(place))
    for place in made:
        place.rmdir()


def typed(command: Shown) -> str:
    """Return what to type: a command as it is, or the shortest form of a pattern."""
    if not command.is_pattern:
        return command.text
    text = command.text
    for pattern, form in FORMS.items():
        text = text.replace(pattern, form)
    text = re.sub(r"\[[^\]]*\](\.\.\.|…)?|\.\.\.|…", "", text)
    return re.sub(r"\b([A-Z]+)\b", lambda word: PLACEHOLDERS.get(word[1], word[1]), text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_reader_can_type_what_the_page_shows(reader: Reader, page: Path) -> None:
    commands = [
        each for each in shown(page) if not any(re.match(each_not, each.text) for each_not in ELSEWHERE)
    ]
    if page.name != "README.md" and not CONFIG.exists():
        reader.type("zdiffsync init --remote onedrive:backup --dataset tank/data && zdiffsync run")
        reader.pass_the_days()
    for command in commands:
        place = (command.page, command.text)
        if place in BEFORE:
            BEFORE[place](reader)
        reader.type(reader.know_ids(typed(command)) if command.page == RECOVERY else typed(command))
        if place in AFTER:
            AFTER[place](reader)
