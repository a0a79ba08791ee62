"""What an interrupted restore leaves for its next attempt: which files it had put in place."""

import errno
import os

import pytest

from zdiffsync.restore.staging import opened_staging, placed_before, staging_folder


@pytest.fixture
def folder(tmp_path):
    folder = staging_folder(tmp_path, "point", b"all")
    folder.mkdir()
    return folder


def interrupted(folder, work):
    def attempt():
        with opened_staging(folder) as staging:
            work(staging)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt()


def test_a_file_is_known_by_its_inode_not_by_its_name(folder, tmp_path):
    (tmp_path / "made").write_text("ours")
    (tmp_path / "name").write_text("theirs")
    interrupted(folder, lambda staging: staging.placing(b"name", (tmp_path / "made").lstat()))
    with opened_staging(folder) as staging:
        assert not staging.was_placed(b"name", (tmp_path / "name").lstat())
        assert not staging.was_placed(b"name", None)
        (tmp_path / "made").rename(tmp_path / "name")
        assert staging.was_placed(b"name", (tmp_path / "name").lstat())
        assert placed_before(folder) == {b"name": (tmp_path / "name").lstat().st_ino}


def test_a_record_that_was_cut_off_does_not_run_into_the_next(folder):
    interrupted(folder, lambda staging: staging.making(b"first"))
    with (folder / "journal").open("ab") as journal:
        journal.write(b"dseco")
    interrupted(folder, lambda staging: staging.making(b"third"))
    with opened_staging(folder) as staging:
        assert [staging.made(path) for path in (b"first", b"seco", b"third")] == [True, False, True]


def test_a_record_that_does_not_fit_on_the_disk_is_an_error(folder, monkeypatch):
    write = os.write
    with opened_staging(folder) as staging:
        monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:2]))
        with pytest.raises(OSError, match="No space left") as caught:
            staging.making(b"a long path")
    assert caught.value.errno == errno.ENOSPC
