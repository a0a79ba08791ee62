"""Five weeks of a home server, for the screenshots: a real run a night, on real ZFS in scripts/zfs-lab.

The lab's clock is put forward from night to night. Rule: nothing is made up but the files; what the pictures
show was made by the commands themselves.
"""

from __future__ import annotations

import os
import pty
import random
import subprocess
import sys
import termios
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, time, timedelta
from pathlib import Path

NIGHTS = 33
OFF = {13}  # the power was out
PROGRAM = Path(sys.executable).parent / "zdiffsync"
DATASETS = ("tank/home", "tank/photos", "tank/vm")
WEEKEND = 5
HOST = "tower"
REORDERED = 20
WORDS = """budget garden letter minutes recipe travel insurance invoice contract notes draft plan report todo
    holiday school kitchen heating electric taxes warranty manual birthday wedding moving lease""".split()  # noqa: SIM905 - a list of words


class Household:
    """Files as people and machines leave them, the same each time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.random = random.Random(20)
        self.documents: list[Path] = []
        self.pictures = 4210

    def fill(self) -> None:
        """Make what there is on the first day."""
        for person in ("anna", "ben"):
            for folder in (
                "Documents/2024",
                "Documents/2025",
                "Documents/2026",
                "Mail",
                "Projects/shed",
                "Notes",
            ):
                (self.root / "home" / person / folder).mkdir(parents=True)
            for _ in range(400):
                self.document(person)
            self.write(self.root / f"home/{person}/Mail/inbox.mbox", 3 << 20)
            self.write(self.root / f"home/{person}/Mail/archive.mbox", 9 << 20)
        (self.root / "home/anna/current").symlink_to("Documents/2026")
        for album in ("2024-07 Norway", "2025-04 Garden", "2025-08 Lisbon", "2026-10 Autumn"):
            self.photos(album, 30)
        for name, size in (("homeassistant.qcow2", 90 << 20), ("nextcloud.qcow2", 120 << 20)):
            self.write(self.root / "vm" / name, size)

    def night(self, number: int, day: datetime) -> None:
        """Make the changes of one day."""
        weekend = day.weekday() >= WEEKEND
        for person in ("anna", "ben"):
            self.work(person, weekend=weekend)
        if weekend or self.random.randrange(7) == 0:
            album = self.random.choice(("Lake", "Family", "Garden", "Walk"))
            self.photos(f"{day:%Y-%m} {album}", self.random.randrange(4, 15))
        self.machines(weekend=weekend)
        if not weekend:
            self.write(self.root / "home/anna/Documents/2026/thesis.odt", 180_000 + 9_000 * number)
        if number == REORDERED:
            (self.root / "home/ben/Documents/2025").rename(self.root / "home/ben/Documents/2025 (old)")
        if number == REORDERED + 7:
            next((self.root / "home/anna/Documents/2026").glob("lease*")).unlink()

    def work(self, person: str, *, weekend: bool) -> None:
        """Write documents and get mail."""
        chance = self.random
        for _ in range(chance.randrange(1, 4) if weekend else chance.randrange(4, 16)):
            self.document(person)
        for document in chance.sample(self.documents, chance.randrange(3, 12)):
            if document.exists():
                with document.open("ab") as file:
                    file.write(chance.randbytes(chance.randrange(200, 9000)))
        with (self.root / f"home/{person}/Mail/inbox.mbox").open("ab") as file:
            file.write(chance.randbytes(chance.randrange(30_000, 400_000 if weekend else 900_000)))

    def machines(self, *, weekend: bool) -> None:
        """Write here and there into the images of virtual machines."""
        chance = self.random
        for name in ("homeassistant.qcow2", "nextcloud.qcow2"):
            with (self.root / "vm" / name).open("r+b") as file:
                for _ in range(chance.randrange(20, 90) if weekend else chance.randrange(60, 260)):
                    file.seek(chance.randrange(90 << 8) << 12)
                    file.write(chance.randbytes(4096 * chance.randrange(1, 7)))

    def document(self, person: str) -> None:
        """Make a document."""
        chance = self.random
        folder = (
            self.root
            / "home"
            / person
            / chance.choice(("Documents/2024", "Documents/2025", "Documents/2026", "Projects/shed", "Notes"))
        )
        folder.mkdir(parents=True, exist_ok=True)
        more = chance.choice(("", f" {chance.choice(WORDS)}", f" {chance.randrange(1, 40)}"))
        path = folder / f"{chance.choice(WORDS)}{more}.{chance.choice(('odt', 'pdf', 'ods', 'txt', 'md'))}"
        self.write(path, int(chance.lognormvariate(9.6, 1.1)))
        self.documents.append(path)

    def photos(self, album: str, count: int) -> None:
        """Make an album, or put more into it."""
        for _ in range(count):
            self.pictures += 1
            self.write(
                self.root / f"photos/{album}/IMG_{self.pictures}.jpg",
                self.random.randrange(300_000, 1_100_000),
            )

    def write(self, path: Path, size: int) -> None:
        """Write a file of bytes that do not compress."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.random.randbytes(size))


def sh(*argv: str | os.PathLike[str]) -> None:
    """Run a command; its output is only shown when it fails."""
    done = subprocess.run(argv, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.stderr.write(f"{argv}: exit code {done.returncode}\n{done.stdout}")
        raise SystemExit(1)


def name_remote(home: Path) -> None:
    """Let rclone know a directory below `home` as the remote `cloud:`."""
    file = home / "rclone.conf"
    file.write_text(f"[cloud]\ntype = alias\nremote = {home}/cloud\n")
    os.environ["RCLONE_CONFIG"] = str(file)


def show(home: Path, words: Sequence[str], *more: str, answers: Sequence[str] = ()) -> None:
    """Run zdiffsync in a terminal; what it says there goes to a file for pictures.py, below the command.

    `more` are options that are not shown, for the folders on this machine are not those of a reader's;
    `answers` are typed where it asks.
    """
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (50, 110))
    argv: list[str | os.PathLike[str]] = [PROGRAM, "-c", home / "config.toml", "--no-progress", *words, *more]
    process = subprocess.Popen(argv, stdin=end, stdout=end, stderr=end)
    os.close(end)
    said, typed = b"", iter(answers)
    with suppress(OSError):  # how Linux tells that the other end is closed
        while part := os.read(terminal, 1 << 16):
            said += part
            if said.endswith(b": ") and (answer := next(typed, None)) is not None:
                os.write(terminal, f"{answer}\n".encode())
    os.close(terminal)
    if process.wait():
        sys.stderr.write(f"{argv}: exit code {process.returncode}\n{said.decode()}")
        raise SystemExit(1)
    command = " ".join(("zdiffsync", *words))
    text = said.decode().replace(f"{home}/state", "/var/lib/zdiffsync").replace(str(home), "/etc/zdiffsync")
    (home / f"{words[0]}.ansi").write_text(f"zdiffsync {words[0]}\n$ {command}\n{text}")


def main(home: Path) -> None:
    """Make pool, repository and points; leave configuration, state and remote in `home`."""
    today = datetime.combine(datetime.now().astimezone().date(), time(2), datetime.now().astimezone().tzinfo)
    first = today - timedelta(NIGHTS)
    sh("date", "-s", f"{first - timedelta(hours=5):%Y-%m-%d %H:%M:%S}")
    sh(
        "zpool",
        "create",
        "-f",
        "-o",
        "cachefile=none",
        "-O",
        "atime=off",
        "-m",
        "/mnt/tank",
        "tank",
        "/dev/ubda",
    )
    for dataset in DATASETS:
        sh("zfs", "create", dataset)
    household = Household(Path("/mnt/tank"))
    household.fill()
    sh("hostname", HOST)
    name_remote(home)
    (home / "cloud").mkdir(parents=True)
    show(home, ("init",), "--state-dir", str(home / "state"), answers=("2 3 4", "1", "", "", "daily=60", ""))
    config = home / "config.toml"  # for pictures.py, which does not run on that host
    config.write_text(f'host = "{HOST}"\n{config.read_text()}')
    for number in range(NIGHTS + 1):
        night = first + timedelta(number, seconds=household.random.randrange(4, 40))
        if number:
            household.night(number, night - timedelta(1))
        if number in OFF:
            continue
        sh("date", "-s", f"{night:%Y-%m-%d %H:%M:%S}")
        show(home, ("run",))
        sys.stdout.write(f"night {number} of {NIGHTS}\n")
        sys.stdout.flush()
    show(home, ("status",))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
