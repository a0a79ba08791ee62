"""Remotes that rclone makes of other remotes: backed up to, checked and restored from as any other."""

import secrets
from pathlib import Path

import pytest
from machine import Machine, sh

pytestmark = pytest.mark.zfs

SECTIONS = {
    "chunker": "remote = {a}\nchunk_size = 100Ki",
    "union": "upstreams = {a} {b}\ncreate_policy = rand",
    "compress": "remote = {a}",
    "hasher": "remote = {a}\nhashes = sha1",
}


@pytest.mark.parametrize("kind", SECTIONS)
def test_a_repository_below_it(
    kind: str, dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {name: str(tmp_path / name) for name in "ab"}
    for place in places.values():
        Path(place).mkdir()
    section = SECTIONS[kind].format(**places)
    monkeypatch.setenv("RCLONE_CONFIG", str(tmp_path / "rclone.conf"))
    (tmp_path / "rclone.conf").write_text(f"[outer]\ntype = {kind}\n{section}\n")
    machine = Machine(tmp_path)
    machine.init(dataset, remote="outer:deep/repository")
    root = Path(sh("zfs", "get", "-Ho", "value", "mountpoint", dataset).strip())
    for number in range(2):
        (root / f"large{number}").write_bytes(secrets.token_bytes(400_000))
        (root / f"small{number}").write_text("a")
        last = machine.run()["points"][0]
    checked = machine.cli("check", "--read-data")
    assert (checked["points"], checked["findings"]) == (2, [])
    machine.check(last, f"{root}/.zfs/snapshot/{last['snapshot'].partition('@')[2]}", tmp_path / "last")
