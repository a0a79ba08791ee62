"""Cases 7-16, 64-70 and 74: hard links, which `zfs diff` knows under one name or under none."""

from cases_registry import Place, Play, case


@case(7, "hard link added (same dir)")
def link_added(at: Place, _dataset: str) -> Play:
    at.write("f")
    yield
    at.link("f", "g")
    yield


@case(8, "hard links: two added, in another dir")
def two_links_added(at: Place, _dataset: str) -> Play:
    at.write("f")
    at.mkdir("d")
    yield
    at.link("f", "d/g1", "d/g2")
    yield


@case(9, "hard link removed (one of two; the later-made name)")
def later_name_removed(at: Place, _dataset: str) -> Play:
    at.write("f")
    at.link("f", "g")
    yield
    at.unlink("g")
    yield


@case(10, "hard link removed (one of two; the first-made name)")
def first_name_removed(at: Place, _dataset: str) -> Play:
    at.write("f")
    at.link("f", "g")
    yield
    at.unlink("f")
    yield


@case(11, "hard link added, then first name removed (rename by link+unlink)")
def renamed_by_link(at: Place, _dataset: str) -> Play:
    at.write("f")
    yield
    at.link("f", "g")
    at.unlink("f")
    yield


@case(12, "file with two links in two dirs: content modified")
def linked_file_modified(at: Place, _dataset: str) -> Play:
    at.mkdir("d1", "d2")
    at.write("d1/f")
    at.link("d1/f", "d2/g")
    yield
    at.append("d1/f")
    yield


@case(
    13,
    "file with two links (d1/f first, d2/g second): second name renamed"
    " / and another pair: first name renamed",
)
def linked_names_renamed(at: Place, _dataset: str) -> Play:
    at.mkdir("d1", "d2")
    at.write("d1/f", "d1/p")
    at.link("d1/f", "d2/g")
    at.link("d1/p", "d2/q")
    yield
    at.rename("d2/g", "d2/g-renamed")
    at.rename("d1/p", "d1/p-renamed")
    yield


@case(14, "hard link added AND one removed (count unchanged): a,b -> a,c")
def link_exchanged(at: Place, _dataset: str) -> Play:
    at.write("a")
    at.link("a", "b")
    yield
    at.unlink("b")
    at.link("a", "c")
    yield


@case(15, "hard link added and content modified")
def link_added_and_modified(at: Place, _dataset: str) -> Play:
    at.write("a")
    yield
    at.link("a", "b")
    at.append("a")
    yield


@case(16, "3 links -> all removed; and new file with 2 links")
def all_links_removed(at: Place, _dataset: str) -> Play:
    at.write("a")
    at.link("a", "b", "c")
    yield
    at.unlink("a", "b", "c")
    at.write("n1")
    at.link("n1", "n2")
    yield


@case(64, "hard links: whole dir holding the last-made link removed; file lives on elsewhere")
def directory_of_last_link_removed(at: Place, _dataset: str) -> Play:
    at.mkdir("keep", "gone")
    at.write("keep/a")
    at.link("keep/a", "gone/b")
    yield
    at.unlink("gone/b")
    at.rmdir("gone")
    yield


@case(65, "hard links: whole dir holding the first-made name removed")
def directory_of_first_link_removed(at: Place, _dataset: str) -> Play:
    at.mkdir("keep", "gone")
    at.write("gone/b")
    at.link("gone/b", "keep/a")
    yield
    at.unlink("gone/b")
    at.rmdir("gone")
    yield


@case(66, "hard links across two dirs; first dir renamed, and then file modified")
def directory_of_link_renamed(at: Place, _dataset: str) -> Play:
    at.mkdir("p", "q")
    at.write("p/a")
    at.link("p/a", "q/b")
    yield
    at.rename("p", "P")
    at.append("P/a")
    yield


@case(67, "hard links: one of 2 names unlinked and the other renamed")
def link_removed_other_renamed(at: Place, _dataset: str) -> Play:
    at.write("a")
    at.link("a", "b")
    yield
    at.unlink("b")
    at.rename("a", "c")
    yield


@case(68, "hard link added in another dir, and first dir removed (link count back to 1)")
def moved_by_link(at: Place, _dataset: str) -> Play:
    at.mkdir("p", "q")
    at.write("p/a")
    yield
    at.link("p/a", "q/b")
    at.unlink("p/a")
    at.rmdir("p")
    yield


@case(69, "new file with 3 links in 3 dirs created")
def three_links_created(at: Place, _dataset: str) -> Play:
    at.mkdir("x", "y", "z")
    yield
    at.write("x/n")
    at.link("x/n", "y/n", "z/n")
    yield


@case(70, "file with 3 links in 3 dirs removed entirely")
def three_links_removed(at: Place, _dataset: str) -> Play:
    at.mkdir("x", "y", "z")
    at.write("x/n")
    at.link("x/n", "y/n", "z/n")
    yield
    at.unlink("z/n", "y/n", "x/n")
    yield


@case(74, "stale parent: link made and removed in another dir, then the file modified")
def stale_parent(at: Place, _dataset: str) -> Play:
    at.mkdir("a", "b")
    at.write("a/f")
    yield
    at.link("a/f", "b/g")
    at.unlink("b/g")
    at.append("a/f")
    yield
