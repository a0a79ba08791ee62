"""`zdiffsync diff`: what is different between two points."""

import os
from collections.abc import Sequence
from typing import Any

import click

from zdiffsync.cli import complete
from zdiffsync.cli.context import App, pass_app
from zdiffsync.cli.location import point_named
from zdiffsync.cli.ls import values
from zdiffsync.cli.text import shown, size
from zdiffsync.model.entry import EntryType
from zdiffsync.restore.difference import Comparison, Difference, Kind, Side
from zdiffsync.restore.locate import normalize
from zdiffsync.restore.plan import missing
from zdiffsync.restore.tree import Found
from zdiffsync.restore.walk import Walk

_NAMES = {
    Kind.ADDED: "added", Kind.REMOVED: "removed", Kind.CONTENT: "modified", Kind.METADATA: "metadata",
    Kind.TYPE: "type", Kind.RENAMED: "renamed", Kind.UNKNOWN: "unknown",
}  # fmt: skip
_PLAIN = ("content", Kind.CONTENT)  # the letter says it
_NOTES = {"content?": "content unknown", "xattrs": "attributes"}
_SUMS = {
    "added": "added, {after}", "removed": "removed, {before}", "modified": "modified, {before} -> {after}",
    "metadata": "with other metadata", "type": "of another type", "renamed": "renamed",
    "unknown": "of the same size, {after}, that only reading could tell apart",
}  # fmt: skip


@click.command()
@click.argument("old", metavar="A", shell_complete=complete.points)
@click.argument("new", metavar="B", shell_complete=complete.points)
@click.argument("path", required=False, default="", shell_complete=complete.paths_of_second)
@click.option("--stat", is_flag=True, help="Show sums only.")
@pass_app
def diff(app: App, old: str, new: str, path: str, *, stat: bool) -> None:
    """Show what is different between points A and B, at and below PATH."""
    with app.reading() as reading:
        points = reading.catalog.points()
        one, other = point_named(app, points, old), point_named(app, points, new)
        top = normalize(path)
        catalog, bases = reading.catalog, reading.bases
        with catalog.view(one) as before, catalog.view(other) as after, catalog.rows() as rows:
            sides = (
                Side(one, Walk(before, bases, one), rows(one.chain_id)),
                Side(other, Walk(after, bases, other), rows(other.chain_id)),
            )
            if all(side.walk.find(top) is None for side in sides):
                raise missing(other, top)
            found = Comparison(*sides).differences(top)
    sums = _sums(found)
    app.emit(
        {"from": one.key, "to": other.key, "stat": sums}
        | ({} if stat else {"differences": [_values(item) for item in found]})
    )
    for line in _stat(sums) if stat else _lines(found):
        app.show(line)


def _lines(found: Sequence[Difference]) -> list[str]:
    sizes = [_growth(item) for item in found]
    width = max(map(len, sizes), default=0)
    return [
        f"{item.kind}  {length:>{width}}  {_what(item)}" for item, length in zip(found, sizes, strict=True)
    ]


def _growth(item: Difference) -> str:
    """Return the size of what came or went, or by how much it changed; nothing where it did not."""
    old, new = _length(item.old), _length(item.new)
    if item.kind in {Kind.ADDED, Kind.REMOVED}:
        found = item.new or item.old
        return size(old + new) if found is not None and found.entry.type is EntryType.FILE else ""
    if old == new:
        return ""
    return f"{'+' if new > old else '-'}{size(abs(new - old))}"


def _length(found: Found | None) -> int:
    return 0 if found is None else found.entry.size


def _what(item: Difference) -> str:
    text = _shown(item.new or item.old)
    if item.kind is Kind.RENAMED:
        text = f"{_shown(item.old)} -> {text}"
    if item.kind is Kind.TYPE and item.old is not None and item.new is not None:
        return f"{text}  ({item.old.entry.type.name.lower()} -> {item.new.entry.type.name.lower()})"
    notes = [_NOTES.get(each, each) for each in item.changes if (each, item.kind) != _PLAIN]
    return f"{text}  ({', '.join(notes)})" if notes else text


def _shown(found: Found | None) -> str:
    assert found is not None, "asked only for what is there"
    return shown(found.path or b".") + ("/" if found.entry.type is EntryType.DIRECTORY else "")


def _sums(found: Sequence[Difference]) -> dict[str, dict[str, int]]:
    """Return number, and size before and after, by kind."""
    sums = {name: {"count": 0, "bytes_before": 0, "bytes_after": 0} for name in _NAMES.values()}
    for item in found:
        of_kind = sums[_NAMES[item.kind]]
        of_kind["count"] += 1
        of_kind["bytes_before"] += _length(item.old)
        of_kind["bytes_after"] += _length(item.new)
    return sums


def _stat(sums: dict[str, dict[str, int]]) -> list[str]:
    lines = []
    width = max(len(f"{each['count']:,}") for each in sums.values())
    for name, each in sums.items():
        if each["count"]:
            before, after = size(each["bytes_before"]), size(each["bytes_after"])
            lines.append(f"{each['count']:>{width},} {_SUMS[name].format(before=before, after=after)}")
    return lines or ["no differences"]


def _values(item: Difference) -> dict[str, Any]:
    return {
        "kind": item.kind.value, "path": os.fsdecode(item.path), "changes": item.changes,
        "old": None if item.old is None else values(item.old),
        "new": None if item.new is None else values(item.new),
    }  # fmt: skip
