"""What an interrupted restore leaves for its next attempt: which files it had put in place."""

import errno
import os

import pytest

from zdiffsync.restore.staging import opened_earlier, opened_staging, staging_folder


@pytest.fixture
def folder(tmp_path):
    return staging_folder(tmp_path, "point", b"all")


@pytest.fixture
def root(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def interrupted(root, folder, work):
    def attempt():
        with opened_staging(root, folder) as staging:
            work(staging)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt()


def test_a_file_is_known_by_its_inode_not_by_its_name(root, folder, tmp_path):
    (tmp_path / "made").write_text("ours")
    (tmp_path / "name").write_text("theirs")
    interrupted(root, folder, lambda staging: staging.placing(b"name", (tmp_path / "made").lstat()))
    with opened_staging(root, folder) as staging:
        assert not staging.was_placed(b"name", (tmp_path / "name").lstat())
        assert not staging.was_placed(b"name", None)
        (tmp_path / "made").rename(tmp_path / "name")
        assert staging.was_placed(b"name", (tmp_path / "name").lstat())
        with opened_earlier(root, folder) as earlier:
            assert earlier.placed == {b"name": (tmp_path / "name").lstat().st_ino}


def test_a_record_that_was_cut_off_does_not_run_into_the_next(root, folder):
    interrupted(root, folder, lambda staging: staging.making(b"first"))
    with (folder / "journal").open("ab") as journal:
        journal.write(b"dseco")
    interrupted(root, folder, lambda staging: staging.making(b"third"))
    with opened_staging(root, folder) as staging:
        assert [staging.made(path) for path in (b"first", b"seco", b"third")] == [True, False, True]


def test_a_record_that_does_not_fit_on_the_disk_is_an_error(root, folder, monkeypatch):
    write = os.write
    with opened_staging(root, folder) as staging:
        monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:2]))
        with pytest.raises(OSError, match="No space left") as caught:
            staging.making(b"a long path")
    assert caught.value.errno == errno.ENOSPC
