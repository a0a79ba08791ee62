"""Real restic repositories beside a real store, of a tree of everything a file system can hold."""

import json
import os
import shutil
import stat
import subprocess
from copy import copy
from pathlib import Path
from types import SimpleNamespace

import pytest

from setup_cache import setup_cache
from zdiffsync.bases.bases import Bases
from zdiffsync.external.restic import Restic
from zdiffsync.store.object_cache import ObjectCache
from zdiffsync.store.secret import Secret
from zdiffsync.store.store import Store

PASSWORD = "correct horse\n"
LARGE = 6 << 20


def restic_path(version):
    cache = setup_cache()
    return str(Path(cache, "restic", version, "restic"))


class Home:
    """A remote with a restic repository, and readers of it."""

    def __init__(self, home, binary, *options):
        self.home, self.binary = home, binary
        self.remote = home / "remote"
        self.password = home / "password"
        self.password.write_text(PASSWORD)
        self.password.chmod(0o600)
        self.remote.mkdir()
        self.restic("init", *options)
        self.readers = 0

    def restic(self, *arguments, cwd=None, password=None):
        argv = [self.binary, "-r", str(self.remote / "restic"), "--no-cache", *arguments]
        environment = {**os.environ, "RESTIC_PASSWORD_FILE": str(password or self.password)}
        done = subprocess.run(argv, check=False, capture_output=True, cwd=cwd, env=environment)
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    def backup(self, directory):
        lines = self.restic("backup", "--json", "--quiet", ".", cwd=directory).splitlines()
        return json.loads(lines[-1])["snapshot_id"]

    def door(self):
        return Restic(
            str(self.remote / "restic"), self.password, self.home / "restic-cache",
            environment=dict(os.environ), binary=self.binary,
        )  # fmt: skip

    def store(self):
        return Store(str(self.remote), Secret.from_file(self.password), "0" * 32)

    def reader(self, store, *, cache=None, limit=1 << 30, password=None):
        """Return fresh Bases; without `cache` nothing is known from before."""
        self.readers += 1
        folder = cache or self.home / f"cache-{self.readers}"
        secret = Secret(password) if password else Secret.from_file(self.password)
        return Bases(store.plain, secret, folder / "index", ObjectCache(folder / "objects", limit))


def make_tree(root):
    def put(name, data):
        path = os.path.join(os.fsencode(root), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        return path

    for number, name in enumerate((b"bad\xff", b"new\nline", b'q"uo\\te', b"\xe2\x80\xa8", b"d\xff/in\xfe")):
        put(name, b"%d" % number * 100)
    plain = put(b"plain", b"plain text")
    os.link(plain, put(b"d\xff/dummy", b"").replace(b"dummy", b"hard"))
    os.setxattr(plain, b"user.binary", b"\0\xff")
    os.utime(plain, ns=(1, 1_700_000_000_123_456_789))
    os.chown(plain, 1234, 5678)
    os.chmod(put(b"setuid", b"#!"), 0o6755)
    put(b"empty file", b"")
    os.mkdir(root / "empty")
    os.symlink(b"to\xff\n", root / "link")
    os.mkfifo(root / "fifo")
    os.mknod(root / "chr", stat.S_IFCHR | 0o640, os.makedev(5, 300))
    put(b"deep/er/and/deeper", b"here")
    put(b"large", os.urandom(LARGE))
    with open(root / "sparse", "wb") as file:
        file.truncate(8 << 20)
        file.seek(3 << 20)
        file.write(b"data")


@pytest.fixture(scope="session", params=["0.18 version 2", "0.19 version 2", "0.18 version 1"])
def backed_up(request, tmp_path_factory):
    """A base in a repository of each form, the tree it was made of, and the store it lies in."""
    version, _, form = request.param.partition(" version ")
    folder = tmp_path_factory.mktemp("bases")
    home = Home(folder, restic_path(version), "--repository-version", form)
    source = folder / "source"
    source.mkdir()
    make_tree(source)
    snapshot = home.backup(source)
    with home.store() as store:
        yield SimpleNamespace(home=home, source=source, snapshot=snapshot, store=store)


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A small base, to be copied."""
    home = Home(tmp_path_factory.mktemp("small"), restic_path("0.18"))
    source = home.home / "source"
    source.mkdir()
    (source / "a").write_bytes(b"a" * 1000)
    (source / "folder").mkdir()
    (source / "folder" / "b").write_bytes(os.urandom(100_000))
    return home, home.backup(source)


@pytest.fixture
def fresh(small, tmp_path):
    """A small base that a test may damage."""
    home = copy(small[0])
    home.home = tmp_path / "home"
    shutil.copytree(small[0].home, home.home, copy_function=shutil.copy2)
    home.remote, home.password = home.home / "remote", home.home / "password"
    with home.store() as store:
        yield SimpleNamespace(home=home, source=home.home / "source", snapshot=small[1], store=store)
