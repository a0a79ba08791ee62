"""Bases of real ZFS snapshots: what only a snapshot's own mount and ACLs on ZFS can show."""

import os
import subprocess

import pytest
from test_restic import back_up, contents, make_tree, opened

from zdiffsync.external.restic import exclude_patterns
from zdiffsync.model.progress import SilentBar

pytestmark = pytest.mark.zfs


@pytest.fixture
def mountpoint(dataset):
    done = subprocess.run(
        ["zfs", "get", "-H", "-o", "value", "mountpoint", dataset], check=True, capture_output=True
    )
    return done.stdout.rstrip()


def test_bases_of_two_snapshots_share_everything_and_restore_exactly(
    dataset, mountpoint, tmp_path, one_restic
):
    make_tree(mountpoint)
    restic = opened(tmp_path, one_restic)
    restic.init()
    subprocess.run(["zfs", "snapshot", f"{dataset}@one"], check=True)
    first = back_up(restic, mountpoint + b"/.zfs/snapshot/one")
    with open(mountpoint + b"/d\xff/new", "wb") as file:
        file.write(b"new")
    subprocess.run(["zfs", "snapshot", f"{dataset}@two"], check=True)
    two = mountpoint + b"/.zfs/snapshot/two"
    second = back_up(restic, two, parent=first.snapshot_id)
    assert (second.files_new, second.files_changed) == (1, 0)
    assert second.files_unmodified == first.files_new
    assert second.bytes_added < 50_000

    target = mountpoint + b"/restored"
    restic.restore(second.snapshot_id, None, os.fsdecode(target), includes=None, progress=SilentBar())
    expected = {path: found for path, found in contents(two).items() if found[0].type != "s"}
    assert contents(target) == expected

    excludes = tmp_path / "excludes"
    lines = exclude_patterns(two, [b"d\xff", b"plain"])
    excludes.write_bytes(b"".join(line + b"\n" for line in lines))
    part = back_up(restic, two, exclude_file=excludes, tags=["part"])
    found = {path for path, _node in restic.listing(part.snapshot_id, b"")}
    assert found == {path for path in expected if not path.startswith(b"d\xff") and path != b"plain"}
