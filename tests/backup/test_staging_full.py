"""What waits for its upload and cannot be written ends the run: it is no file that is unreadable."""

import errno

import pytest

from zdiffsync.backup.packer import Packer
from zdiffsync.errors import StagingError
from zdiffsync.format.manifest import Header, ManifestWriter, ObjectRecord

HEADER = Header(
    repository="r", chain="0" * 16, first=0, sequence=0, point="p", dataset="tank", dataset_guid=1, host="h",
    snapshot="tank@s", guid=2, createtxg=3, created_ns=4, parent_guid=None, restic=None, base_ns=4,
    excludes="",
)  # fmt: skip


def full(*_args):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_pack_on_a_full_disk_is_no_unreadable_file(tmp_path):
    with Packer(tmp_path, 1 << 20, lambda _pack: None) as packer:
        packer.put(b"a")
        packer._file.close()
        packer._file = type("File", (), {"write": full, "close": full})()
        with pytest.raises(StagingError, match="No space left on device; make room there or set staging_dir"):
            packer.put(b"b")
        with pytest.raises(StagingError):
            packer.flush()


def test_a_folder_that_cannot_be_made_for_a_pack_is_no_unreadable_file(tmp_path):
    (tmp_path / "packs").touch()
    with (
        Packer(tmp_path, 1 << 20, lambda _pack: None) as packer,
        pytest.raises(StagingError, match="make room there or set staging_dir"),
    ):
        packer.put(b"a")


def test_a_record_on_a_full_disk_is_no_unreadable_file(tmp_path):
    writer = ManifestWriter(tmp_path / "manifest", HEADER)
    writer._file.close()
    writer._file = type("File", (), {"write": full, "close": full})()
    with pytest.raises(StagingError):
        writer.add(ObjectRecord(1, 2, 3, bytes(1 << 16)))  # shorter ones are written together
    with pytest.raises(StagingError):
        writer.__exit__(None, None, None)


def test_a_manifest_where_nothing_can_be_written_is_no_unreadable_file(tmp_path):
    with pytest.raises(StagingError):
        ManifestWriter(tmp_path / "nowhere" / "manifest", HEADER)
