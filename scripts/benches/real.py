"""Real input: this machine's own /usr in a dataset, and a night of real changes: scripts/bench real.

Base, then changes (Debian packages unpacked into and removed from the copy, a large directory renamed, a
database edited), increment, restore; in the lab. restic backs up and restores the same two snapshots into a
repository of its own. One round: it takes most of an hour.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic
from typing import Any

from common import CHECKOUT, ZDIFFSYNC, machine, restic, restic_version, say, sh

PACKAGES = (
    "nano",
    "tmux",
    "nginx-core",
    "nginx-common",
    "redis-server",
    "redis-tools",
    "htop",
    "vim-runtime",
)
REMOVED = ("git", "git-man", "cmake-data", "perl-modules-5.36")


def timed(figures: dict[str, Any], name: str, *argv: str, cwd: str | None = None) -> str:
    """Run a command and note its seconds."""
    started = monotonic()
    said = sh(*argv, cwd=cwd)
    figures[name] = round(monotonic() - started, 1)
    say(f"  {name}: {figures[name]} s")
    return said


def fetch_packages(folder: Path) -> None:
    """Download the packages that the real run installs, without touching the system."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("*.deb")):
        for package in PACKAGES:
            sh("apt-get", "-q", "download", package, cwd=folder)


def change(tree: Path, debs: Path) -> None:
    """Make a night's real changes below `tree`, a copy of /usr."""
    for deb in sorted(debs.glob("*.deb")):
        unpacked = tree.parent / "unpacked"
        sh("dpkg", "-x", str(deb), str(unpacked))
        if (unpacked / "usr").is_dir():
            sh("cp", "-a", f"{unpacked}/usr/.", str(tree))
        shutil.rmtree(unpacked)
    for package in REMOVED:
        listed = subprocess.run(["dpkg", "-L", package], check=False, capture_output=True, text=True)
        for line in listed.stdout.splitlines():
            path = tree / line.removeprefix("/usr/")
            if line.startswith("/usr/") and (path.is_file() or path.is_symlink()):
                path.unlink()
    (tree / "share/doc").rename(tree / "share/documentation")
    with sqlite3.connect(tree / "bench.sqlite") as database:
        chosen = random.Random(2).sample(range(200_000), 2_000)
        database.executemany("update item set text = 'changed ' || id where id = ?", [(n,) for n in chosen])


def make_database(path: Path) -> None:
    """Write an SQLite database of about 30 MB, as many applications keep one."""
    words = random.Random(1)
    with sqlite3.connect(path) as database:
        database.execute("create table item (id integer primary key, text text, hash blob)")
        rows = ((n, f"item {n} " * 8, words.randbytes(32)) for n in range(200_000))
        database.executemany("insert into item values (?, ?, ?)", rows)


class Bench:
    """One run inside the lab."""

    def __init__(self, work: Path, debs: Path) -> None:
        self.work, self.debs = work, debs
        self.figures: dict[str, Any] = {}
        self.config = work / "config.toml"

    def zdiffsync(self, *arguments: str) -> list[str]:
        """Return the command line of our own tool."""
        return [ZDIFFSYNC, "-c", str(self.config), "--json", *arguments]

    def restic(self, *arguments: str) -> list[str]:
        """Return restic's command line for its own repository, through the same rclone backend."""
        return [*restic(self.work / "peer"), *arguments]

    def real(self) -> None:
        """Measure the real-input run."""
        sys.path.insert(0, str(CHECKOUT / "tests"))
        from oracle import differences  # noqa: PLC0415 - the suite's own judge, needed here only

        sh("zpool", "create", "-f", "-o", "cachefile=none", "-O", "atime=off", "-O", "compression=lz4",
           "-m", "/mnt/tank", "tank", "/dev/ubda")  # fmt: skip
        sh("zfs", "create", "-o", "acltype=posixacl", "-o", "xattr=sa", "tank/usr")
        sh("zfs", "create", "-o", "acltype=posixacl", "-o", "xattr=sa", "tank/out")
        tree = Path("/mnt/tank/usr")
        timed(self.figures, "copying /usr", "cp", "-a", "--one-file-system", "/usr/.", str(tree))
        make_database(tree / "bench.sqlite")
        os.environ |= {
            "RESTIC_PASSWORD_FILE": str(self.work / "password"),
            "RESTIC_CACHE_DIR": str(self.work / "peer-cache"),
            "RESTIC_FEATURES": "device-id-for-hardlinks=true",
        }  # fmt: skip
        sh(*self.zdiffsync("init", "--remote", str(self.work / "remote"), "--dataset", "tank/usr",
                           "--password-file", str(self.work / "password"),
                           "--state-dir", str(self.work / "state")))  # fmt: skip
        sh(*self.restic("init"))
        sh("zfs", "snapshot", "tank/usr@one")
        base = json.loads(timed(self.figures, "zdiffsync base", *self.zdiffsync("run")))
        self._peer("one", "restic first backup")
        change(tree, self.debs)
        sh("zfs", "snapshot", "tank/usr@two")
        increment = json.loads(timed(self.figures, "zdiffsync increment", *self.zdiffsync("run")))
        self._peer("two", "restic second backup")
        self.figures["base"] = base["points"][0]
        self.figures["increment"] = increment["points"][0]
        self._sizes()
        timed(
            self.figures,
            "zdiffsync restore",
            *self.zdiffsync("restore", "latest", "--to", "/mnt/tank/out/ours"),
        )
        timed(
            self.figures,
            "restic restore",
            *self.restic("restore", "latest", "--target", "/mnt/tank/out/theirs"),
        )
        found = differences("/mnt/tank/usr/.zfs/snapshot/two", "/mnt/tank/out/ours")
        self.figures["differences"] = len(found)
        say("\n".join(found[:20]))

    def _peer(self, label: str, name: str) -> None:
        said = timed(
            self.figures, name, *self.restic("backup", "--json", "--group-by", "host,tags", "."),
            cwd=f"/mnt/tank/usr/.zfs/snapshot/{label}",
        )  # fmt: skip
        summary = json.loads(said.strip().splitlines()[-1])
        self.figures[f"{name} uploaded"] = summary["data_added_packed"]

    def _sizes(self) -> None:
        names = int(sh("sh", "-c", "find /mnt/tank/usr | wc -l"))
        self.figures["names"] = names
        self.figures["bytes"] = self.figures["base"]["bytes_total"]


def table(figures: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    increment, base = figures["increment"], figures["base"]
    first, second = (mb(figures[f"restic {which} backup uploaded"]) for which in ("first", "second"))
    rows = [
        ("first backup, seconds", figures["zdiffsync base"], figures["restic first backup"]),
        ("first backup, MB uploaded", mb(base["uploaded_bytes"]), first),
        ("second night, seconds", figures["zdiffsync increment"], figures["restic second backup"]),
        ("second night, MB uploaded", mb(increment["uploaded_bytes"]), second),
        ("whole restore, seconds", figures["zdiffsync restore"], figures["restic restore"]),
    ]  # fmt: skip
    lines = ["| | zdiffsync | restic |", "|---|---|---|"]
    lines += [f"| {name} | {ours} | {theirs} |" for name, ours, theirs in rows]
    lines.append(f"\n{figures['names']:,} names, {mb(figures['bytes'])} MB; differences after restore: "
                 f"{figures['differences']}; {figures['machine']}")  # fmt: skip
    return "\n".join(lines)


def mb(count: object) -> str:
    """Return bytes as megabytes."""
    return f"{float(str(count)) / 1e6:,.1f}"


def main(out: Path, in_lab: Path | None, command: list[str]) -> int:
    """Fetch on the host, measure in the lab by `command`, print."""
    if in_lab is not None:
        bench = Bench(in_lab, in_lab / "debs")
        bench.real()
        bench.figures["machine"] = machine(sh("zfs", "version").split()[0], restic_version())
        out.write_text(json.dumps(bench.figures, indent=1) + "\n")
        sys.stdout.write(table(bench.figures) + "\n")
        return 0
    work = Path(tempfile.mkdtemp(prefix="zdiffsync-bench.", dir="/var/tmp"))
    try:
        fetch_packages(work / "debs")
        lab = [str(CHECKOUT / "scripts/zfs-lab"), "--disk", "40G", "--mem", "6G", *command, "real"]
        lab += ["--out", str(out), "--in-lab", str(work)]
        return subprocess.run(lab, check=False, stdin=subprocess.DEVNULL).returncode
    finally:
        shutil.rmtree(work)
