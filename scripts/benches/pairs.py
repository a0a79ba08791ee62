"""Old and new versions of files as they come about: binaries, sources, databases, mail, images, logs.

What Debian and PyPI have two versions of is fetched; the rest is made here, the same at every run.
Rule: a pair is what one night does to one file; where ZFS would know the changed blocks, they are given.
"""

from __future__ import annotations

import base64
import gzip
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from common import say, sh

GIB = 1 << 30
_RECORD = 128 << 10  # ZFS's default recordsize
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Pair:
    """Two versions of a file; `extents` are the records (start, end; bytes) written, if in place."""

    name: str
    old: Path
    new: Path
    extents: list[tuple[int, int]] | None = None


def pairs(home: Path, only: str) -> Iterator[Pair]:
    """Make one pair after the other under `home`, of those with `only` in the name."""
    makers: dict[str, Callable[[Path], Pair]] = {
        "libcrypto, two Debian versions": lambda place: _package(
            place, "libssl3", "usr/lib/x86_64-linux-gnu/libcrypto.so.3"
        ),
        "mariadbd, two Debian versions": lambda place: _package(
            place, "mariadb-server-core", "usr/sbin/mariadbd"
        ),
        "tar of NumPy 2.2.0 to 2.2.1": lambda place: _release(place, "numpy", "2.2.0", "2.2.1"),
        "tar of Django 5.1.1 to 5.1.2": lambda place: _release(place, "Django", "5.1.1", "5.1.2"),
        "tar of Django 5.1.1 to 5.2": lambda place: _release(place, "Django", "5.1.1", "5.2"),
        "SQLite, rows updated": _updated,
        "SQLite, VACUUM": _vacuumed,
        "mbox, oldest mails removed": _mailbox,
        "ext4 image, packages installed": _image,
        "log rotated": _log,
        "noise, 1,000 pages written": lambda place: _written(place, GIB, 1000),
        "noise, a byte put before it": lambda place: _shifted(place, GIB),
        "repeats, one put before them": _repeats,
    }
    for name, make in makers.items():
        if only in name:
            place = home / name.replace(" ", "-")
            place.mkdir(parents=True)
            say(name)
            pair = make(place)
            yield Pair(name, pair.old, pair.new, pair.extents)
            shutil.rmtree(place)


def _package(place: Path, package: str, member: str) -> Pair:
    """Take one file out of the two newest versions of a package."""
    versions = [line.split("|")[1].strip() for line in sh("apt-cache", "madison", package).splitlines()]
    if len(versions) < 2:  # noqa: PLR2004 - a pair
        sys.exit(f"bench: apt knows no two versions of {package}; add the security archive to its sources")
    found = []
    for version in versions[1::-1]:
        (folder := place / version).mkdir()
        sh("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", f"{package}={version}", cwd=folder)
        sh("dpkg", "-x", str(next(folder.glob("*.deb"))), str(folder / "tree"))
        found.append(folder / "tree" / member)
    return Pair("", *found)


def _release(place: Path, project: str, old: str, new: str) -> Pair:
    """Make a tar of two wheels' files, in order of their names."""
    found = []
    for version in (old, new):
        folder = place / version
        sh(
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "-d",
            str(folder),
            f"{project}=={version}",
        )
        sh(sys.executable, "-m", "zipfile", "-e", str(next(folder.glob("*.whl"))), str(folder / "tree"))
        found.append(folder / "tree.tar")
        sh("tar", "--sort=name", "--mtime=2024-01-01", "-C", str(folder / "tree"), "-cf", str(found[-1]), ".")
    return Pair("", *found)


def _words() -> list[str]:
    """Return the words of this machine's changelogs and licences: text as people write it."""
    text: list[str] = []
    for path in sorted(Path("/usr/share/doc").glob("*/[cC]*"))[:600]:
        if path.is_file():
            data = path.read_bytes()
            text += (gzip.decompress(data) if path.suffix == ".gz" else data).decode(errors="ignore").split()
    return text


def _sentences(words: list[str], rng: random.Random, count: int) -> str:
    lines = []
    for _ in range(count):
        at = rng.randrange(len(words) - 12)
        lines.append(" ".join(words[at : at + 12]))
    return "\n".join(lines)


def _database(place: Path) -> Path:
    rng, words = random.Random(1), _words()
    path = place / "old.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE mail (id INTEGER PRIMARY KEY, sender, time INTEGER, body, hash BLOB)")
        database.execute("CREATE INDEX senders ON mail (sender, time)")
        database.executemany(
            "INSERT INTO mail VALUES (?, ?, ?, ?, ?)",
            (
                (row, f"{rng.choice(words)}@example.org", 1_700_000_000 + row * 60,
                 _sentences(words, rng, 3), rng.randbytes(20))
                for row in range(150_000)
            ),
        )  # fmt: skip
    database.close()
    return path


def _updated(place: Path) -> Pair:
    old, new, rng = _database(place), place / "new.db", random.Random(2)
    shutil.copyfile(old, new)
    with sqlite3.connect(new) as database:
        for _ in range(3_500):
            values = (1_800_000_000 + rng.randrange(10**6), rng.randbytes(20), rng.randrange(150_000))
            database.execute("UPDATE mail SET time = ?, hash = ? WHERE id = ?", values)
    database.close()
    return Pair("", old, new, _records(old, new))


def _vacuumed(place: Path) -> Pair:
    old, new, rng = _database(place), place / "new.db", random.Random(3)
    shutil.copyfile(old, new)
    with sqlite3.connect(new) as database:
        gone = [(rng.randrange(150_000),) for _ in range(7_500)]
        database.executemany("DELETE FROM mail WHERE id = ?", gone)
    database.execute("VACUUM")
    database.close()
    return Pair("", old, new)


def _mailbox(place: Path) -> Pair:
    rng, words = random.Random(4), _words()
    mails = []
    for number in range(6_000):
        body = _sentences(words, rng, rng.randrange(5, 60))
        if rng.random() < 0.2:  # noqa: PLR2004 - a fifth has an attachment
            body += "\n\n" + base64.encodebytes(rng.randbytes(rng.randrange(10_000, 100_000))).decode()
        mails.append(
            f"From {rng.choice(words)}@example.org Mon Jan  1 00:00:00 2024\n"
            f"Message-ID: <{number}@example.org>\n"
            f"Subject: {_sentences(words, rng, 1)}\n\n{body}\n\n".encode()
        )
    old, new = place / "old", place / "new"
    old.write_bytes(b"".join(mails[:5_950]))
    new.write_bytes(b"".join(mails[400:]))
    return Pair("", old, new)


def _log(place: Path) -> Pair:
    rng = random.Random(5)
    agents = [f"Mozilla/5.0 (agent {rng.randrange(10**6)})" for _ in range(40)]
    paths = [f"/{rng.choice('abcdef')}/{rng.randrange(5_000)}.html" for _ in range(3_000)]
    lines = [
        f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(256)} - - "
        f"[{second // 86400 + 1:02}/Jan/2024:{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}"
        f'] "GET {rng.choice(paths)}" 200 {rng.randrange(10**5)} "-" "{rng.choice(agents)}"\n'.encode()
        for second in range(840_000)
    ]
    old, new = place / "old.log", place / "new.log"
    old.write_bytes(b"".join(lines[:800_000]))
    new.write_bytes(b"".join(lines[400_000:]))
    return Pair("", old, new)


def _image(place: Path) -> Pair:
    """Make a file system and write packages into it in place, as in a virtual machine."""
    tree, old, new = place / "tree", place / "old.img", place / "new.img"
    tree.mkdir()
    for folder in ("bin", "sbin", "lib/python3", "lib/git-core", "share/doc", "share/perl"):
        if (source := Path("/usr") / folder).is_dir():
            shutil.copytree(source, tree / folder, symlinks=True, ignore_dangling_symlinks=True)
    sh("mkfs.ext4", "-q", "-d", str(tree), str(old), "1G")
    sh("cp", "--sparse=never", str(old), str(new))
    commands: list[str] = []
    (place / "packages").mkdir()
    for package in ("mariadb-server-core", "libssl3", "vim-runtime", "nginx-common"):
        sh("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package, cwd=place / "packages")
    for archive in sorted((place / "packages").glob("*.deb")):
        sh("dpkg", "-x", str(archive), str(place / "packages/tree"))
    for folder, _, names in os.walk(place / "packages/tree"):
        inside = "/new" + folder.removeprefix(str(place / "packages/tree"))
        commands.append(f"mkdir {inside}")
        commands += [f'write "{folder}/{name}" "{inside}/{name}"' for name in sorted(names)
                     if not (Path(folder) / name).is_symlink()]  # fmt: skip
    # Upgrades free blocks, too.
    commands += [f"rm /bin/{path.name}" for path in sorted((tree / "bin").iterdir())[::10]]
    subprocess.run(["debugfs", "-w", "-f", "-", str(new)], input="\n".join(commands).encode(), check=True,
                   capture_output=True)  # fmt: skip
    shutil.rmtree(tree)
    return Pair("", old, new, _records(old, new))


def _noise(path: Path, size: int, before: bytes = b"") -> None:
    rng = random.Random(6)
    with path.open("wb") as file:
        file.write(before)
        for _ in range(size // _BLOCK):
            file.write(rng.randbytes(_BLOCK))


def _written(place: Path, size: int, count: int) -> Pair:
    rng, old, new = random.Random(7), place / "old", place / "new"
    _noise(old, size)
    shutil.copyfile(old, new)
    with new.open("r+b") as file:
        for _ in range(count):
            file.seek(rng.randrange(size // 4096) * 4096)
            file.write(rng.randbytes(4096))
    return Pair("", old, new, _records(old, new))


def _shifted(place: Path, size: int) -> Pair:
    old, new = place / "old", place / "new"
    _noise(old, size)
    _noise(new, size, b"!")
    return Pair("", old, new)


def _repeats(place: Path) -> Pair:
    """Make what bsdiff would take hours on: a short pattern over and over, with some noise in it."""
    rng, old, new = random.Random(8), place / "old", place / "new"
    pattern = rng.randbytes(96)
    with old.open("wb") as file:
        for _ in range(64):
            file.write(pattern * (_BLOCK // len(pattern)) + rng.randbytes(100) + bytes(50_000))
    new.write_bytes(b"one more" + old.read_bytes()[: 60 << 20] + pattern * 1000)
    return Pair("", old, new)


def _records(old: Path, new: Path) -> list[tuple[int, int]]:
    """Return the records that differ: what the send stream would name."""
    found: list[tuple[int, int]] = []
    size = new.stat().st_size
    with old.open("rb") as before, new.open("rb") as after:
        for at in range(0, size, _RECORD):
            if before.read(_RECORD) != after.read(_RECORD):
                if found and found[-1][1] == at:
                    at = found.pop()[0]  # noqa: PLW2901 - joined to the one before
                found.append((at, min(size, after.tell())))
    return found
