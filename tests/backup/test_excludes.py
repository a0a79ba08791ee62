"""Exclude patterns: the same answer as `git check-ignore`, for every pattern and path."""

import os
import re
import subprocess

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from zdiffsync.backup.excludes import Excludes


class Git:
    """An empty work tree that git is asked about; directories are made, since git looks at the disk."""

    def __init__(self, folder):
        self.root = os.fsencode(folder)
        self._environment = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1",
            "LC_ALL": "C.UTF-8",
        }  # fmt: skip
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments, data=None):
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.root,
            env=self._environment,
            input=data,
            capture_output=True,
            check=False,
        )
        assert done.returncode in {0, 1}, done.stderr
        return done.stdout

    def make(self, paths):
        for path, directory in paths:
            full = os.path.join(self.root, path)
            if directory:
                os.makedirs(full, exist_ok=True)
            elif not os.path.lexists(full):
                os.makedirs(os.path.dirname(full), exist_ok=True)
                os.close(os.open(full, os.O_CREAT | os.O_WRONLY))

    def ignored(self, patterns, paths):
        with open(os.path.join(self.root, b".git/info/exclude"), "wb") as file:
            file.write(b"".join(os.fsencode(pattern) + b"\n" for pattern in patterns))
        asked = {b"./" + path: path for path, _ in paths}  # so that no name is taken for a pathspec's magic
        out = self.git("check-ignore", "--no-index", "-z", "--stdin", data=b"\0".join(asked) + b"\0")
        return {asked[name] for name in out.split(b"\0") if name}


def ours(patterns, paths):
    excludes = Excludes(patterns)
    return {path for path, directory in paths if excludes.covers(path, directory=directory)}


TREE = [
    (path.rstrip(b"/"), path.endswith(b"/"))
    for path in [
        b"a", b"b", b"a.o", b"A", b"ab", b"foo/", b"foo/a", b"foo/b", b"foo/bar/", b"foo/bar/a",
        b"foo/bar/a.o", b"foo/bar/baz/", b"foo/bar/baz/b", b"bar/", b"bar/a", b"bar/foo/",
        b"bar/foo/b", b"x/", b"x/foo",
        b"x/bar/", b"x/bar/foo/", b"x/bar/foo/a", b"#c", b"!d", b"sp ace", b"trail ", b"trail", b" lead",
        b"*", b"[x]", b"x1", b"back\\slash", b"new\nline", b"tab\t", b"caf\xc3\xa9", b"cafe\xcc\x81",
        b"inv\xff\xfe", b"a-b", b"a]b", b"a^b", b"-", b".hidden", b".hid/", b".hid/a", b"deep/",
        b"deep/a/", b"deep/a/b/",
        b"deep/a/b/c", b"q?", b"foo.d/", b"foo.d/a", b"{a,b}", b"$HOME", b"~", b"a\\", b"CR\r",
    ]
]  # fmt: skip


@pytest.fixture(scope="module")
def git(tmp_path_factory):
    git = Git(tmp_path_factory.mktemp("git"))
    git.make(TREE)
    return git


CORNERS = [
    ["*"], ["/*"], ["**"], ["/**"], ["**/"], ["*/"], ["a"], ["/a"], ["a/"], ["foo"], ["foo/"], ["/foo"],
    ["/foo/"], ["foo/*"], ["foo/**"], ["foo/**/"], ["**/foo"], ["**/foo/"], ["**/foo/**"], ["foo/**/a"],
    ["foo/**/**/a"], ["**/bar/a"], ["bar/foo"], ["x/*/foo"], ["x/**/foo"], ["foo**"], ["f**o"], ["foo/b**"],
    ["**foo"], ["*foo*/"], ["*.o"], ["?"], ["??"], ["/?"], ["#c"], ["\\#c"], ["!d"], ["\\!d"], ["a", "!a"],
    ["trail "], ["trail\\ "], ["trail  "], ["trail\\  "], ["trail \\ "], [" lead"], ["\\ lead"], ["sp ace"],
    ["sp\\ ace"], ["tab\t"], ["tab\\\t"], ["", " ", "  "], ["\\*"], ["[*]"], ["\\[x\\]"],
    ["[[]x]"], ["[x]"],
    ["x[0-9]"], ["x[!0-9]"], ["x[^0-9]"], ["[ab]"], ["[a-c]"], ["[!a]"], ["[^a]"], ["[]]"], ["a[]]b"],
    ["a[]-]b"], ["a[-]b"], ["a[!-]b"], ["a[\\]]b"], ["a[\\^]b"], ["a[^-]b"], ["[-]"], ["[[:digit:]]"],
    ["x[[:digit:]]"], ["[[:upper:]]"], ["[a"], ["[]"], ["a["], ["[!]"], ["back\\\\slash"], ["back\\slash"],
    ["back?slash"], ["café"], ["cafe*"], ["inv*"], ["inv??"], ["inv\udcff\udcfe"], ["inv[\udcff]*"],
    ["new?line"], ["new*"], ["*.d", "!foo.d"], ["*.d/", "!foo.d/"], ["foo/*", "!foo/bar"], ["foo/",
    "!foo/a"],
    ["foo", "!foo/bar/a"], ["/*", "!/foo", "/foo/*", "!/foo/bar"], ["*", "!*/", "!a"], ["a", "!a", "a"],
    ["!a", "a"], ["foo/bar/"], ["foo/bar"], ["/foo/bar/*.o"], ["foo/*/baz"], ["foo/*/*"],
    ["*/*/b"], ["/*/a"],
    ["/"], ["//"], ["//a"], ["foo//a"], ["./a"], ["foo/./a"], ["a/.."], ["deep/**/c"], ["deep/**/b"],
    ["deep/**/b/"], ["**/c"], ["**/b/c"], ["/**/c"], ["deep/**/a/**/c"], ["q\\?"], ["q?"], ["{a,b}"],
    ["$HOME"], ["~"], [".*"], [".hid*/"], ["*hid*"], ["-"], ["a-b"], ["a\\"], ["a\\\\"], ["\\a"],
    ["\\"], ["!"], ["!!d"],
    ["!/"], ["!foo", "foo"], ["#"], ["CR\r"], ["CR?"], ["***"], ["foo/***"], ["***/a"], ["**/**"], ["**/*"],
    ["foo/**b"], ["/**/"], ["/foo/**/bar/**"], ["*/**"], ["*/**/a"],
]  # fmt: skip


@pytest.mark.parametrize("patterns", CORNERS, ids=repr)
def test_corner_cases_are_gits(git, patterns):
    assert ours(patterns, TREE) == git.ignored(patterns, TREE)


PIECES = st.sampled_from(
    ["a", "b", "foo", "bar", "x", "*", "?", "**", "/", "/", "//", "**/", "/**", "[ab]", "[!a]",
    "[^b]", "[a-c]",
     ".", " ", "\\ ", "\\", "\\*", "!", "#", ".o", "é", "\udcff"]
)  # fmt: skip
# git takes `a**/b` for `a` and `**/b`, against its own manual,
# which calls that a plain `*`.
PATTERN = (
    st.lists(PIECES, min_size=1, max_size=5).map("".join).filter(lambda p: not re.search(r"[^/!]\*\*", p))
)
PATTERNS = st.lists(PATTERN, min_size=1, max_size=4)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PATTERNS)
@example(["foo/*", "!foo/bar/", "foo/bar/*", "!a"])
def test_patterns_are_gits(git, patterns):
    assert ours(patterns, TREE) == git.ignored(patterns, TREE)


def test_none_excludes_nothing():
    assert not Excludes()
    assert not Excludes().covers(b"a", directory=False)
    assert not Excludes([]).matches(b"a", directory=True)


def test_the_digest_tells_lists_apart():
    lists = [(), ("a",), ("a", "b"), ("b", "a"), ("ab",), ("a ",), ("\udcff",), ("a", "")]
    assert len({Excludes(patterns).digest for patterns in lists}) == len(lists)
    assert Excludes(["a", "b"]).digest == Excludes(("a", "b")).digest


@pytest.mark.parametrize(
    ("patterns", "depends"),
    [(["*.o"], False), (["foo/"], False), (["foo/bar"], True), (["/foo"], True), (["**/foo"], True),
     (["#a/b"], False), (["foo/*/"], True), ([], False)],
)  # fmt: skip
def test_whether_place_matters(patterns, depends):
    assert Excludes(patterns).depends_on_place is depends
