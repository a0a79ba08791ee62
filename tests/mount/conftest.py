"""A real repository to mount, and mounts that end with the test. Rule: nothing stays mounted."""

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from mounted_world import World
from mounts import Mount


def fill(root):
    """The tree of the base: every kind of entry, odd names, links, a hole, xattrs and ACLs, a large file."""
    rng = random.Random(7)
    (root / "docs").mkdir(parents=True)
    (root / "docs/letter.txt").write_bytes(b"dear all\n" * 100)
    (root / "docs/empty").touch()
    (root / "docs/notes.md").write_bytes(b"first\n")
    os.link(root / "docs/letter.txt", root / "letter too")
    (root / "link").symlink_to("docs/letter.txt")
    (root / "dangling").symlink_to(b"nowhere\xff".decode(errors="surrogateescape"))
    os.mkfifo(root / "fifo")
    os.mknod(root / "null", 0o020666, os.makedev(1, 3))
    odd = os.fsencode(root) + b"/inv\xff\n'\"\\name"
    with open(odd, "wb") as file:
        file.write(b"odd")
    os.utime(odd, ns=(1, -1_500_000_000))
    (root / "deep/er/and/deeper").mkdir(parents=True)
    (root / "deep/er/and/deeper/still").write_bytes(b"here")
    (root / "many").mkdir()
    for number in range(300):
        (root / f"many/{number:03}").write_bytes(b"%d\n" % number)
    with (root / "sparse").open("wb") as file:
        file.truncate(40 << 20)
        file.seek(20 << 20)
        file.write(rng.randbytes(5 << 16))
    (root / "image").write_bytes(rng.randbytes(9 << 20))
    (root / "locked").write_bytes(b"secret")
    (root / "locked").chmod(0o600)
    os.setxattr(root / "docs", "user.colour", b"\x00\xffgreen")
    subprocess.run(["setfacl", "-m", "u:1234:rw,m:rw", root / "docs/notes.md"], check=True)
    os.chown(root / "docs/notes.md", 1000, 1001)


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A repository with a base and two increments; what each point holds lies in `world.expected`."""
    home = tmp_path_factory.mktemp("mounted")
    world = World(home)
    fill(world.tree)
    world.base()
    with (world.tree / "image").open("r+b") as file:
        file.seek(5 << 20)
        file.write(b"patched")
    (world.tree / "docs/notes.md").write_bytes(b"first\nsecond\n")
    (world.tree / "docs/new").write_bytes(b"new")
    (world.tree / "link").unlink()
    world.increment(changed=["docs/notes.md", "docs/new"], deltas=["image"], removed=["link"])
    (world.tree / "many").rename(world.tree / "lots")
    with (world.tree / "image").open("r+b") as file:
        file.seek(5 << 20)
        file.write(b"again!!")
    world.increment(deltas=["image"], renamed={"many": "lots"})
    return world


@pytest.fixture
def fresh(world, tmp_path):
    """A copy of the world that a test may change, with a state of its own."""
    return world.copy(tmp_path / "fresh")


@pytest.fixture
def mount(tmp_path):
    """Mounts a world: `mount(world, *options)`; each has a directory of its own."""
    mounts = []

    def start(world, *options, directory=None):
        if directory is None:
            directory = Path(tmp_path, f"mount{len(mounts)}")
            directory.mkdir()
        mounts.append(Mount(world.config, directory, *options))
        return mounts[-1]

    yield start
    for each in mounts:
        each.close()
    shutil.rmtree(tmp_path, ignore_errors=True)
