"""Mounted points beside their snapshots on real ZFS, seen by the tools people would use there."""

import os
import random
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from history_world import destroy
from machine import Machine, sh, snapshot_directory

from mounts import Mount, wait_for
from oracle import states

pytestmark = pytest.mark.zfs

AUTHOR = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "safe.directory=*")


class Work:
    """A dataset in which somebody programs and an application keeps a database, and points of it.

    `moments` are the snapshots to hold them against.
    """

    def __init__(self, parent: str, home: Path) -> None:
        self.parent, self.dataset = parent, f"{parent}/data"
        sh("zfs", "create", "-o", "acltype=posixacl", "-o", "xattr=sa", parent)
        sh("zfs", "create", self.dataset)
        self.root = Path(sh("zfs", "get", "-Ho", "value", "mountpoint", self.dataset).strip())
        self.machine = Machine(home)
        self.machine.init(self.dataset)
        self.rng = random.Random(3)
        self.moments: list[str] = []
        self.repository, self.database = self.root / "code", self.root / "app/data.db"

    def git(self, *arguments: str) -> None:
        sh("git", "-C", str(self.repository), *AUTHOR, *arguments)

    def program(self, files: int) -> None:
        """Write and commit some files, others than before among them."""
        for _ in range(files):
            path = self.repository / f"src/{self.rng.randrange(40)}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"line {self.rng.randrange(10**9)}\n" for _ in range(200)))
        self.git("add", "-A")
        self.git("commit", "-qm", f"{files} files")

    def write(self, rows: int, changed: int) -> None:
        """Add rows to the database and change others."""
        self.database.parent.mkdir(exist_ok=True)
        with sqlite3.connect(self.database) as database:
            database.execute("create table if not exists item (id integer primary key, text text, hash blob)")
            database.executemany(
                "insert into item (text, hash) values (?, ?)",
                ((f"item {self.rng.random()} " * 6, self.rng.randbytes(32)) for _ in range(rows)),
            )
            database.executemany(
                "update item set text = 'changed' where id = ?",
                [(self.rng.randrange(20_000),) for _ in range(changed)],
            )
        database.close()

    def point(self) -> None:
        moment = f"{self.dataset}@moment{len(self.moments)}"
        sh("zfs", "snapshot", moment)
        self.machine.run()
        self.moments.append(snapshot_directory(moment, str(self.root)))
        os.listdir(self.moments[-1])  # several who are the first at once may see an empty directory


@pytest.fixture(scope="module")
def work(pool: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Work]:
    work = Work(f"{pool}/mounted", tmp_path_factory.mktemp("work"))
    work.repository.mkdir()
    work.git("init", "-q")
    work.program(25)
    work.write(20_000, 0)
    work.point()
    work.program(10)
    work.write(100, 200)
    work.point()
    work.git("gc", "-q", "--prune=now")
    work.write(0, 50)
    (work.root / "app").rename(work.root / "service")
    work.database = work.root / "service/data.db"
    work.point()
    yield work
    destroy(work.parent)


@pytest.fixture(params=["local", "remote"])
def mounted(request: pytest.FixtureRequest, work: Work, tmp_path: Path) -> Iterator[Mount]:
    """All points, mounted with and without what local snapshots still have."""
    mount = Mount(work.machine.config, tmp_path, *(["--no-local"] if request.param == "remote" else []))
    yield mount
    mount.close()


def test_the_tools_of_the_trade(work: Work, mounted: Mount) -> None:
    """One test, for what is read once is then in memory: each tool is the first to read something."""
    points = mounted.points(work.dataset)
    assert len(points) == len(work.moments) == 3
    for point, moment in zip(points, work.moments, strict=True):
        database = next(point.glob("*/data.db"))
        with sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True) as opened:
            assert opened.execute("pragma integrity_check").fetchall() == [("ok",)]
            assert opened.execute("select count(*) from item").fetchone()[0] >= 20_000
        opened.close()
        assert sh("git", "-C", str(point / "code"), *AUTHOR, "fsck", "--full", "--strict") == ""
        assert sh("git", "-C", str(point / "code"), *AUTHOR, "status", "--porcelain") == ""
        assert sh("diff", "-r", str(point), moment) == ""
        assert sh("rsync", "-aHAXnci", "--delete", f"{moment}/", f"{point}/") == ""
        archives = [
            sh("bash", "-c", 'tar --sort=name -c -C "$0" . | sha256sum', each)
            for each in (str(point), moment)
        ]
        assert archives[0] == archives[1]
        assert states(moment) == states(str(point))


def test_eight_readers_of_different_points(work: Work, mounted: Mount) -> None:
    pairs = list(zip(map(str, mounted.points(work.dataset)), work.moments, strict=True))

    def compare(number: int) -> str:
        point, moment = pairs[number % len(pairs)]
        return sh("diff", "-r", point, moment)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(compare, range(8))) == [""] * 8


def test_a_snapshot_that_is_destroyed_under_a_mount_is_made_up_for(work: Work, tmp_path: Path) -> None:
    """Whoever reads a file from a snapshot must neither keep it alive nor notice that it went."""
    work.write(0, 20)
    work.point()
    mount = Mount(work.machine.config, tmp_path)
    try:
        latest = mount.points(work.dataset)[-1]
        with (latest / "service/data.db").open("rb") as file:
            file.read(4096)
            work.write(0, 20)
            work.point()  # destroys the snapshot of the point before
            labels = sh("zfs", "list", "-Ho", "name", "-t", "snapshot", work.dataset)
            assert labels.count("@zdiffsync-") == 1
            expected = Path(work.moments[-2], "service/data.db").read_bytes()
            file.seek(0)
            assert file.read() == expected
        assert sh("diff", "-r", str(latest), work.moments[-2]) == ""
        link = latest.parent / "latest"
        wait_for(lambda: os.readlink(link) != latest.name, "that the new point is the latest")
        assert sh("diff", "-r", f"{link}/", work.moments[-1]) == ""
    finally:
        mount.close()
