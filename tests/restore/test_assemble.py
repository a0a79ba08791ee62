"""Building a tree on a real file system: nothing leads out of the target, and what is there is respected."""

import os
import stat

import pytest
from overlay_target import CONTENTS, TIME, directory, file, thing

from zdiffsync.errors import IntegrityError
from zdiffsync.format.manifest import NameRecord
from zdiffsync.model.entry import EntryType
from zdiffsync.restore.folders import check_name
from zdiffsync.restore.overwrite import Overwrite


def test_a_tree_of_everything(restore):
    report = restore(
        directory(2, b"dir"), file(3, b"f", 1, 2), file(4, b"new\nline\xff", 2), file(5, b"empty", None),
        file(6, b"sparse", 3, mode=0o4755), thing(7, b"link", EntryType.SYMLINK, target=b"/etc/\xffpasswd"),
        thing(8, b"pipe", EntryType.FIFO), thing(9, b"sock", EntryType.SOCKET),
        file(10, b"dated", 1, xattrs=((b"user.k", b"\0v"),)),
    )  # fmt: skip
    target = os.fsencode(restore.target)
    assert (report.failed, report.damaged, report.kept) == ([], False, 0)
    assert (report.files, report.directories, report.others) == (5, 1, 3)
    assert report.bytes_restored == sum(len(CONTENTS[number]) for number in (1, 2, 3, 1))
    for name, data in {
        b"dir/f": CONTENTS[1],
        b"new\nline\xff": CONTENTS[2],
        b"empty": b"",
        b"sparse": CONTENTS[3],
    }.items():
        with open(target + b"/" + name, "rb") as stream:
            assert stream.read() == data
    assert os.readlink(target + b"/link") == b"/etc/\xffpasswd"
    modes = {
        name: os.lstat(target + b"/" + name).st_mode
        for name in (b"sparse", b"pipe", b"sock", b"dir", b"dated")
    }
    assert stat.S_IMODE(modes[b"sparse"]) == 0o4755
    assert stat.S_ISFIFO(modes[b"pipe"])
    assert stat.S_ISSOCK(modes[b"sock"])
    assert stat.S_IMODE(modes[b"dated"]) == 0o640
    for name in (b"", b"/dir", b"/dir/f", b"/link", b"/pipe", b"/sparse"):
        assert os.lstat(target + name).st_mtime_ns == TIME
    sparse = os.lstat(target + b"/sparse")
    assert sparse.st_blocks * 512 < sparse.st_size
    assert sorted(os.listdir(target + b"/dir")) == [b"f"]
    assert os.getxattr(target + b"/dated", "user.k") == b"\0v"


def test_hard_links_are_one_file_again(restore):
    linked = [NameRecord(1, b"b", 3), NameRecord(2, b"c", 3)]
    report = restore(directory(2, b"dir"), file(3, b"a", 2), extra=linked)
    inodes = {os.lstat(restore.target / name).st_ino for name in ("a", "b", "dir/c")}
    assert len(inodes) == 1
    assert os.lstat(restore.target / "a").st_nlink == 3
    assert (report.files, report.failed) == (1, [])


@pytest.mark.parametrize("name", [b"..", b".", b"", b"a/b", b"/abs", b"../out", b"a\0b", b"/", b"\0"])
def test_a_crafted_name_is_refused_and_the_rest_restored(restore, tmp_path, name):
    report = restore(file(2, name), file(3, b"good"))
    assert report.damaged
    assert [reason for _path, reason in report.failed] == [f"refusing to restore a file named {name!r}"]
    assert sorted(os.listdir(restore.target)) == ["good"]
    assert sorted(os.listdir(tmp_path)) == ["catalog.sqlite", "target"]
    with pytest.raises(IntegrityError, match="refusing"):
        check_name(name)


@pytest.mark.parametrize("name", [b"..", b"a/b"])
def test_a_crafted_directory_is_refused_with_all_in_it(restore, tmp_path, name):
    report = restore(directory(2, name), file(3, b"f", 1, 2))
    assert report.damaged
    assert os.listdir(restore.target) == []
    assert sorted(os.listdir(tmp_path)) == ["catalog.sqlite", "target"]


@pytest.mark.parametrize("overwrite", list(Overwrite))
def test_a_symlink_in_the_way_of_a_directory_is_not_followed(restore, tmp_path, overwrite):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(b"theirs")
    restore.target.mkdir()
    (restore.target / "dir").symlink_to(outside)
    report = restore(directory(2, b"dir"), file(3, b"f", 1, 2), file(4, b"g", 1, 2), overwrite=overwrite)
    assert os.listdir(outside) == ["f"]
    assert (outside / "f").read_bytes() == b"theirs"
    if overwrite is Overwrite.NEVER:
        assert (restore.target / "dir").is_symlink()
        assert (report.kept, report.files) == (1, 0)
    else:
        assert (restore.target / "dir" / "f").read_bytes() == CONTENTS[1]
        assert not (restore.target / "dir").is_symlink()


@pytest.mark.parametrize("overwrite", [Overwrite.CHANGED, Overwrite.ALWAYS])
def test_a_symlink_in_the_way_of_a_file_is_replaced_and_not_written_through(restore, tmp_path, overwrite):
    outside = tmp_path / "outside"
    outside.write_bytes(b"theirs")
    restore.target.mkdir()
    (restore.target / "f").symlink_to(outside)
    report = restore(file(2, b"f"), overwrite=overwrite)
    assert outside.read_bytes() == b"theirs"
    assert not (restore.target / "f").is_symlink()
    assert report.failed == []


def test_a_symlink_of_the_point_itself_leads_nothing_out(restore, tmp_path):
    """Two names for one place: a symlink, and a directory entered through it, cannot both be there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    report = restore(
        thing(2, b"dir", EntryType.SYMLINK, target=os.fsencode(outside)),
        directory(3, b"real"), file(4, b"f", 1, 3), extra=[NameRecord(1, b"hard", 2)],
    )  # fmt: skip
    assert os.listdir(outside) == []
    assert os.lstat(outside).st_mtime_ns != TIME
    assert report.failed == []


@pytest.mark.parametrize(
    ("overwrite", "same", "longer", "older", "kept"),
    [
        (Overwrite.NEVER, b"old", b"old too", b"old", 3),
        (Overwrite.CHANGED, b"old", CONTENTS[1], CONTENTS[1], 1),
        (Overwrite.ALWAYS, CONTENTS[1], CONTENTS[1], CONTENTS[1], 0),
    ],
)
def test_overwrite(restore, overwrite, same, longer, older, kept):
    """`changed` goes by kind, size and time; what is not in the point stays in every case."""
    restore.target.mkdir()
    for name, data in {"same": b"old", "longer": b"old too", "older": b"old", "theirs": b"!"}.items():
        (restore.target / name).write_bytes(data)
        os.utime(restore.target / name, ns=(TIME, TIME - (name == "older")))
    report = restore(
        file(2, b"same"), file(3, b"longer"), file(4, b"older"), file(5, b"new"), overwrite=overwrite
    )
    found = {
        name: (restore.target / name).read_bytes() for name in ("same", "longer", "older", "new", "theirs")
    }
    assert found == {"same": same, "longer": longer, "older": older, "new": CONTENTS[1], "theirs": b"!"}
    assert (report.kept, report.files) == (kept, 4 - kept)


@pytest.mark.parametrize("overwrite", list(Overwrite))
def test_a_directory_in_the_way_of_a_file(restore, overwrite):
    (restore.target / "f" / "deep").mkdir(parents=True)
    (restore.target / "f" / "deep" / "theirs").write_bytes(b"!")
    restore(file(2, b"f"), overwrite=overwrite)
    if overwrite is Overwrite.NEVER:
        assert (restore.target / "f" / "deep" / "theirs").read_bytes() == b"!"
    else:
        assert (restore.target / "f").read_bytes() == CONTENTS[1]


@pytest.mark.parametrize("overwrite", list(Overwrite))
def test_a_file_in_the_way_of_a_directory(restore, overwrite):
    restore.target.mkdir()
    (restore.target / "dir").write_bytes(b"theirs")
    report = restore(directory(2, b"dir"), file(3, b"f", 1, 2), overwrite=overwrite)
    if overwrite is Overwrite.NEVER:
        assert (restore.target / "dir").read_bytes() == b"theirs"
        assert report.kept == 1
    else:
        assert (restore.target / "dir" / "f").read_bytes() == CONTENTS[1]


def test_overwriting_a_file_leaves_its_other_links_alone(restore):
    restore.target.mkdir()
    (restore.target / "f").write_bytes(b"theirs")
    os.link(restore.target / "f", restore.target / "their link")
    restore(file(2, b"f"), overwrite=Overwrite.ALWAYS)
    assert (restore.target / "their link").read_bytes() == b"theirs"


def test_a_damaged_file_does_not_take_its_old_one_with_it(restore):
    """The stored bytes are gone: what is there, though changed, is all there is."""
    restore.target.mkdir()
    (restore.target / "f").write_bytes(b"mine")
    report = restore(file(2, b"f"), file(3, b"good"), overwrite=Overwrite.ALWAYS, contents={1: b"short"})
    assert report.damaged
    assert {path for path, _ in report.failed} == {b"f", b"good"}
    assert (restore.target / "f").read_bytes() == b"mine"
    assert os.listdir(restore.target) == ["f"]


@pytest.mark.parametrize("where", ["/", "/deep/"])
def test_a_damaged_file_leaves_a_directory_in_its_way(restore, where):
    (restore.target / "f" / "deep").mkdir(parents=True)
    (restore.target / f"f{where}theirs").write_bytes(b"!")
    restore(file(2, b"f"), overwrite=Overwrite.ALWAYS, contents={1: b"short"})
    assert (restore.target / f"f{where}theirs").read_bytes() == b"!"


def test_one_missing_content_does_not_stop_the_others(restore):
    def missing(number):
        raise IntegrityError(f"content {number} does not match its digest")

    class Contents(dict):
        def __missing__(self, number):
            return missing(number)

    report = restore(file(2, b"a", 1), file(3, b"b", 2), contents=Contents({2: CONTENTS[2]}))
    assert report.failed == [(b"a", "content 1 does not match its digest")]
    assert os.listdir(restore.target) == ["b"]


def test_one_file_alone(restore):
    report = restore(directory(2, b"dir"), file(3, b"f", 2, 2), path=b"dir/f")
    assert (os.listdir(restore.target), report.files) == (["f"], 1)


def test_what_this_user_may_not_do_is_a_warning(restore, monkeypatch):
    def refuse(*_args, **_options):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    monkeypatch.setattr(os, "fchown", refuse)
    report = restore(file(2, b"a", uid=1234), file(3, b"b", gid=1234), file(4, b"c"))
    assert report.warnings == {"owners could not be restored; run as root to restore them": 3}
    assert report.failed == []
    assert stat.S_IMODE(os.lstat(restore.target / "a").st_mode) == 0o640


def test_what_hangs_on_a_broken_file_is_broken_too(restore):
    """Or the old file of the first name would get the second as well."""
    (restore.target).mkdir(parents=True)
    (restore.target / "a").write_bytes(b"mine")
    linked = [NameRecord(1, b"b", 2)]
    report = restore(file(2, b"a"), extra=linked, overwrite=Overwrite.ALWAYS, contents={1: b"short"})
    assert sorted(path for path, _ in report.failed) == [b"a", b"b"]
    assert os.listdir(restore.target) == ["a"]
    assert (restore.target / "a").read_bytes() == b"mine"
