"""Reading `zfs diff -FHt`: recorded outputs of OpenZFS 2.1.11 and 2.3.2, odd names, and damage."""

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zdiffsync.external.zfs_diff import Diff, DiffRow, decode_path, diff, parse_row

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "zfs-diff-recorded.json").read_text())
ODD_NAMES = (31, 32, 33, 34, 59)
# Cases in which ZFS shows a hard-linked or held-open object under a name that the listing does not have.
MISLEADING = {14, 64}
PSEUDO_ROWS = {"2.1.11": {51: 2, 52: 1}, "2.3.2": {51: 2, 52: 1}}


def escaped(data):
    return b"".join(b"\\%04o" % byte if byte <= 0x20 or byte >= 0x7F or byte == 0x5C else b"%c" % byte
                    for byte in data)  # fmt: skip


def listed(names):
    """The recorder wrote names as the inside of a bytes literal."""
    paths = {name.encode("latin-1").decode("unicode_escape").encode("latin-1") for name in names}
    return {b"" if path == b"." else path for path in paths}


def identify(recorded):
    return f"{recorded['zfs']}-{recorded['case']:02}"


@pytest.mark.parametrize("recorded", RECORDED, ids=identify)
def test_recorded_output(recorded):
    mountpoint = os.fsencode(recorded["mountpoint"])
    rows = [parse_row(line.encode("ascii"), mountpoint) for line in recorded["lines"]]
    assert rows.count(None) == PSEUDO_ROWS[recorded["zfs"]].get(recorded["case"], 0)
    for row, line in zip(rows, recorded["lines"], strict=True):
        if row is None:
            assert "(on_delete_queue)" in line
            continue
        fields = line.split("\t")
        assert row.directory == (fields[2] == "/")
        assert row.kind == ("-" if fields[1] == "R" and "(on_delete_queue)" in line else fields[1])
        assert (row.new_path is not None) == (row.kind == "R")
        if recorded["case"] not in MISLEADING and "before" in recorded and b"<xattrdir>" not in row.path:
            before, after = listed(recorded["before"]), listed(recorded["after"])
            assert row.path in {"-": before, "+": after, "M": before | after, "R": before}[row.kind]
            assert row.new_path is None or row.new_path in after


def test_the_recording_holds_what_it_is_kept_for():
    assert {item["zfs"] for item in RECORDED} == {"2.1.11", "2.3.2"}
    lines = [line for item in RECORDED for line in item["lines"]]
    assert {line.split("\t")[1] for line in lines} == {"M", "+", "-", "R"}
    assert {line.split("\t")[2] for line in lines} == set("FCB/|@=")
    escapes = {name for item in RECORDED if item["case"] in ODD_NAMES for line in item["lines"]
               for name in re.findall(r"\\[0-7]{4}", line)}  # fmt: skip
    assert {r"\0012", r"\0011", r"\0040", r"\0134", r"\0377"} <= escapes
    assert max(map(len, lines)) > 4096


@given(st.binary(max_size=60))
@example(bytes(range(256)))
@example(b"\\0040")
def test_decoding_undoes_an_independent_encoder(name):
    assert decode_path(escaped(name)) == name


def test_an_escape_beyond_a_byte_is_refused():
    with pytest.raises(ValueError, match=r"range\(0, 256\)"):
        decode_path(rb"\0400")


MOUNTPOINTS = st.lists(
    st.binary(min_size=1, max_size=8).map(lambda raw: re.sub(rb"[/\0]", b"x", raw)), max_size=3
).map(lambda parts: b"/" + b"/".join(parts))
PATHS = st.lists(
    st.binary(min_size=1, max_size=12)
    .map(lambda raw: re.sub(rb"[/\0]", b"\n", raw))
    .filter(lambda name: name not in {b".", b".."}),
    max_size=4,
).map(b"/".join)


@given(MOUNTPOINTS, st.sampled_from("M+-R"), st.sampled_from("F/@"), PATHS, PATHS)
@example(b"/", "R", "F", b"a", b"b")
@example("/mnt/my daéta".encode(), "M", "/", b"", b"")
def test_every_row_comes_back(mountpoint, kind, letter, path, new_path):
    prefix = escaped(mountpoint).rstrip(b"/") + b"/"
    line = b"1795426656.035476676\t%s\t%s\t%s" % (kind.encode(), letter.encode(), prefix + escaped(path))
    if kind == "R":
        line += b"\t" + prefix + escaped(new_path)
    row = parse_row(line, mountpoint)
    assert row == DiffRow(kind, letter == "/", path, new_path if kind == "R" else None)


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (b"1.0\tM\tF\t/t/d/f\t(+1)", DiffRow("M", False, b"f", None)),
        (b"1.0\tR\tF\t/t/d(on_delete_queue)\t/t/d/f", DiffRow("+", False, b"f", None)),
        (b"1.0\tR\tF\t/t/d/f\t/t/d(on_delete_queue)", DiffRow("-", False, b"f", None)),
        (b"1.0\tR\tF\t/t/d(on_delete_queue)\t/t/d(on_delete_queue)", None),
        (b"1.0\tM\tF\t/t/data/f", None),
        (b"1.0\tM\t/\t/t/d", DiffRow("M", True, b"", None)),
        (b"1.0\tM\t/\t/t/d/", DiffRow("M", True, b"", None)),
    ],
)
def test_pseudo_paths_and_neighbours(line, row):
    assert parse_row(line, b"/t/d") == row


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"M\t/t/d/f", b"1.0\tX\tF\t/t/d/f", b"1.0\tMM\tF\t/t/d/f", b"1.0\t\tF\t/t/d/f",
     b"1.0\tM\tF", b"1.0\tR\tF\t/t/d/f", b"1.0\tM\tF\t/t/d/\\0777", b"Unable to determine path",
     b"1.0\tM\tF\t/t/d/../../etc/passwd", b"1.0\tM\tF\t/t/d/./f", b"1.0\tM\tF\t/t/d//f",
     b"1.0\tM\tF\t/t/d/a\\0000b"],
)  # fmt: skip
def test_odd_lines_are_refused(line):
    with pytest.raises(ValueError, match=r"zfs diff|range"):
        parse_row(line, b"/t/d")


@pytest.fixture
def fake_zfs(tmp_path, monkeypatch):
    """Put a `zfs` that behaves as told before everything else on PATH."""

    def make(stdout=b"", stderr="", code=0, before=""):
        (tmp_path / "out").write_bytes(stdout)
        script = tmp_path / "zfs"
        script.write_text(
            f"#!/bin/sh\nprintf '%s\\n' \"$@\" >{tmp_path}/arguments\n{before}\ncat {tmp_path}/out\n"
            f"printf '%s' '{stderr}' >&2\nexit {code}\n"
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return tmp_path / "arguments"

    return make


GOOD = b"1.0\t+\tF\t/t/d/new\n1.0\tM\t/\t/t/d/\n1.0\tM\tF\t/t/d(on_delete_queue)\n"


def test_a_clean_run_gives_all_rows(fake_zfs):
    arguments = fake_zfs(GOOD)
    found = diff("t/d@a", "t/d@b", b"/t/d")
    assert found.problem is None
    assert found.rows == (DiffRow("+", False, b"new", None), DiffRow("M", True, b"", None))
    assert arguments.read_text().splitlines() == ["diff", "-FHt", "t/d@a", "t/d@b"]


def test_nothing_changed(fake_zfs):
    fake_zfs()
    assert diff("t/d@a", "t/d@b", b"/t/d") == Diff((), None)


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ({"stdout": GOOD, "stderr": "Unable to determine path or stats for object 7 in t/d@b: No such\n"},
         "Unable to determine path or stats for object 7"),
        ({"stdout": GOOD, "code": 1}, "exit code 1"),
        ({"stdout": GOOD, "code": 1, "stderr": "internal error: Invalid\n argument"},
         "internal error: Invalid argument"),
        ({"stdout": GOOD + b"warning: hm\n"}, "unexpected zfs diff line b'warning: hm'"),
        ({"stdout": GOOD + b"1.0\tR\tF\t/t/d/f"}, "names no new path"),
        ({"stdout": GOOD, "before": "kill -9 $$"}, "exit code -9"),
    ],
)  # fmt: skip
def test_whatever_is_incomplete_is_one_problem_and_no_rows(fake_zfs, behaviour, words):
    fake_zfs(**behaviour)
    found = diff("t/d@a", "t/d@b", b"/t/d")
    assert found.rows == ()
    assert words in found.problem
    assert "\n" not in found.problem


def test_no_zfs_at_all_is_a_problem_too(tmp_path, monkeypatch):
    for tool in ("setpriv",):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install zfsutils-linux" in diff("t/d@a", "t/d@b", b"/t/d").problem


def test_a_cut_last_line_that_still_parses_is_told_by_the_exit_code(fake_zfs):
    fake_zfs(b"1.0\t+\tF\t/t/d/newfi", code=137)
    assert diff("t/d@a", "t/d@b", b"/t/d").rows == ()
