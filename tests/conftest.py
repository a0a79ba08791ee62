"""Real ZFS for the tests marked zfs: one pool per session, one fresh dataset per test that asks.

Rule: where there is no ZFS such a test fails; it is never skipped.
"""

import secrets
import subprocess
from pathlib import Path

import pytest

ZFS_VERSION = Path("/sys/module/zfs/version")
LAB_DISK = Path("/dev/ubda")
POOL_OPTIONS = ("-f", "-o", "cachefile=none", "-O", "atime=off")
SIZE_ON_A_FILE = 8 << 30


def run(*argv):
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout


def pytest_runtest_setup(item):
    if item.get_closest_marker("zfs") and not ZFS_VERSION.exists():
        pytest.fail("this test needs real ZFS: run it with scripts/test or scripts/zfs-lab", pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def zfs_version(record_testsuite_property):
    """Name this kernel's OpenZFS in the report that scripts/test reads."""
    if ZFS_VERSION.exists():
        record_testsuite_property("openzfs", ZFS_VERSION.read_text().strip())


@pytest.fixture(scope="session")
def pool(tmp_path_factory):
    """The name of an empty pool, mounted; in the lab on its disk, else on a file."""
    if LAB_DISK.exists():
        name, device, mountpoint = "tank", LAB_DISK, Path("/mnt/tank")
    else:
        name = f"zdiffsync-test-{secrets.token_hex(4)}"
        home = tmp_path_factory.mktemp("pool")
        device, mountpoint = home / "disk", home / "tank"
        with device.open("wb") as file:
            file.truncate(SIZE_ON_A_FILE)
    run("zpool", "create", *POOL_OPTIONS, "-m", str(mountpoint), name, str(device))
    yield name
    run("zpool", "destroy", "-f", name)


@pytest.fixture
def dataset(pool):
    """The name of an empty mounted dataset with POSIX ACLs; destroyed with all below it afterwards."""
    name = f"{pool}/{secrets.token_hex(4)}"
    run("zfs", "create", "-o", "acltype=posixacl", "-o", "xattr=sa", name)
    yield name
    snapshots = run("zfs", "list", "-H", "-o", "name", "-t", "snapshot", "-r", name).splitlines()
    if snapshots:
        for row in run("zfs", "holds", "-H", *snapshots).splitlines():
            snapshot, tag, _ = row.split("\t")
            run("zfs", "release", tag, snapshot)
    run("zfs", "destroy", "-R", "-f", name)
