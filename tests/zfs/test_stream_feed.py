"""A night of so many changes that the stream alone is asked; directories found by their handles."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from history_world import destroy
from machine import Machine, sh, snapshot_directory

from zdiffsync.backup import feed
from zdiffsync.external.tree import Identity, SnapshotTree

pytestmark = pytest.mark.zfs

MANY = 1500


@pytest.fixture
def dataset(pool: str) -> Iterator[str]:
    name = f"{pool}/{secrets.token_hex(4)}"
    sh("zfs", "create", name)
    try:
        yield name
    finally:
        destroy(name)


@pytest.fixture
def root(dataset: str) -> Path:
    return Path(sh("zfs", "get", "-Ho", "value", "mountpoint", dataset).strip())


def test_a_night_by_the_stream_alone(
    dataset: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("many", "quiet/deep", "linked", "other", "emptied"):
        (root / folder).mkdir(parents=True)
    for number in range(MANY):
        (root / f"many/{number}").write_text(f"first {number}")
    for path in ("quiet/deep/changed in place", "quiet/deep/mode", "linked/a", "emptied/gone", "kept"):
        (root / path).write_text(path)
    os.link(root / "linked/a", root / "other/b")
    machine = Machine(tmp_path)
    machine.init(dataset)
    machine.run()
    for number in range(0, MANY, 3):
        (root / f"many/{number}").unlink()
        (root / f"many/new {number}").write_text(f"second {number}")
    for number in range(1, MANY, 3):
        (root / f"many/{number}").write_text(f"changed {number}")
    (root / "other/b").unlink()  # ZFS still takes `other` for the file's directory
    (root / "linked/a").write_text("changed behind a stale parent")
    (root / "quiet/deep/changed in place").write_text("changed in a directory that did not")
    (root / "quiet/deep/mode").chmod(0o600)
    (root / "emptied/gone").rename(root / "other/come")
    (root / "emptied").rmdir()
    (root / "quiet").rename(root / "other/moved")
    monkeypatch.setattr(feed, "_ROW_SECONDS", 1.0)
    point = machine.run()["points"][0]
    assert (point["method"], point["rows"], point["misses"]) == ("send stream", 0, [])
    assert point["certified"]
    assert "zfs diff" not in point["seconds"]
    machine.check(point, snapshot_directory(point["snapshot"]), tmp_path / "restored")


def test_directories_are_found_by_their_handles(dataset: str, root: Path) -> None:
    paths = (b"", b"a", b"a/b (deleted)", b"a/b (deleted)/c\n\xff")
    os.makedirs(os.path.join(os.fsencode(root), paths[-1]))
    with SnapshotTree(os.fsencode(root)) as live:
        identities = [live.identity(path) for path in paths]
    sh("zfs", "snapshot", f"{dataset}@before")
    (root / "a").rename(root / "z")
    with SnapshotTree(os.fsencode(snapshot_directory(f"{dataset}@before"))) as tree:  # nothing is cached here
        found = [tree.path_of(identity) for identity in reversed(identities) if identity is not None]
        assert found == list(reversed(paths))
        known = identities[1]
        assert known is not None
        assert tree.path_of(Identity(known.number, known.generation + 1)) is None
        assert tree.path_of(Identity(known.number + 1000, known.generation)) is None
