"""What is different between two points of a dataset. Rule: what `zdiffsync diff` shows."""

from dataclasses import dataclass

from flask import render_template
from flask.typing import ResponseReturnValue

from zdiffsync.catalog.catalog import Point
from zdiffsync.errors import UsageError
from zdiffsync.model.entry import EntryType
from zdiffsync.model.text import size
from zdiffsync.restore.difference import Comparison, Difference, Kind, Side
from zdiffsync.restore.tree import Found
from zdiffsync.restore.walk import Walk
from zdiffsync.web.links import argument, path_argument
from zdiffsync.web.paging import Page
from zdiffsync.web.source import Source

_AT_ONCE = 500  # differences
_WORDS = {
    Kind.ADDED: "added", Kind.REMOVED: "removed", Kind.CONTENT: "changed", Kind.METADATA: "metadata",
    Kind.TYPE: "another type", Kind.RENAMED: "renamed", Kind.UNKNOWN: "perhaps changed",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One difference. `side` is the point that has `found`."""

    difference: Difference
    side: Point
    found: Found

    @property
    def word(self) -> str:
        """How it differs."""
        return _WORDS[self.difference.kind]

    @property
    def is_directory(self) -> bool:
        """Whether it leads to a listing."""
        return self.found.entry.type is EntryType.DIRECTORY

    @property
    def notes(self) -> str:
        """What beside the content."""
        known = {"content", "content?"}
        return ", ".join(each for each in self.difference.changes if each not in known)

    @property
    def growth(self) -> str:
        """By how many bytes it grew or shrank; the size of what came or went."""
        old, new = (
            0 if each is None else each.entry.size for each in (self.difference.old, self.difference.new)
        )
        if old == new:
            return ""
        return f"{'+' if new > old else chr(0x2212)}{size(abs(new - old))}"


def page(source: Source) -> ResponseReturnValue:
    """Show it."""
    old, new, path = source.point(argument("old")), source.point(argument("new")), path_argument()
    if old.dataset != new.dataset:
        raise UsageError("the two points are of different datasets")
    catalog, bases = source.catalog, source.bases
    with catalog.view(old) as before, catalog.view(new) as after, catalog.rows() as rows:
        sides = (
            Side(old, Walk(before, bases, old), rows(old.chain_id)),
            Side(new, Walk(after, bases, new), rows(new.chain_id)),
        )
        found = [_row(item, old, new) for item in Comparison(*sides).differences(path)]
    counts = {word: sum(row.word == word for row in found) for word in _WORDS.values()}
    return render_template(
        "diff.html", old=old, new=new, path=path, counts=counts,
        rows=Page.of(found, argument("page"), _AT_ONCE),
    )  # fmt: skip


def _row(item: Difference, old: Point, new: Point) -> Row:
    if item.new is not None:
        return Row(item, new, item.new)
    assert item.old is not None, "one of the two is there"
    return Row(item, old, item.old)
