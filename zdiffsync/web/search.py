"""Search over all points, deleted files included; results go out as they are found.

Rule: an error on the way ends the list with a sentence, never as a list that looks whole.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from flask import render_template, stream_template
from flask.typing import ResponseReturnValue

from zdiffsync.catalog.catalog import Point
from zdiffsync.errors import ZdiffsyncError
from zdiffsync.model.text import shown
from zdiffsync.restore.search import Match, Query, named, search
from zdiffsync.restore.spans import SpanTree
from zdiffsync.web.links import argument
from zdiffsync.web.source import Source

_MOST = 500  # results


@dataclass(frozen=True, slots=True)
class Hit:
    """A path that fits; `first` and `last` have it, `gone`: the newest point does not. Or only an error."""

    match: Match | None = None
    first: Point | None = None
    last: Point | None = None
    gone: bool = False
    error: str = ""


def page(source: Source) -> ResponseReturnValue:
    """Show the form, and what was found."""
    text, dataset = argument("q").strip(), argument("dataset")
    names = list(source.datasets())
    wanted = [name for name in names if dataset in {"", name}]
    more = {"text": shown(os.fsencode(text)), "dataset": dataset, "names": names}
    if not text:
        return render_template("search.html", hits=None, **more)
    return stream_template("search.html", hits=_found(source, wanted, text), **more)


def glob(text: str) -> str:
    """Return the pattern that is meant: what has no wildcard may stand anywhere in the name."""
    return text if any(each in text for each in "*?[") else f"*{text}*"


def _found(source: Source, datasets: list[str], text: str) -> Iterator[Hit]:
    query = Query(named(glob(text), ignore_case=True))
    count = 0
    try:
        for dataset in datasets:
            with source.catalog.rows() as rows:
                tree = SpanTree(rows, source.bases, source.of_dataset(dataset))
                for match in search(tree, tree.root(), b"", query):
                    if count == _MOST:
                        yield Hit(error=f"These are the first {_MOST:,}; there are more.")
                        return
                    count += 1
                    first, last = match.runs[0][0], match.runs[-1][1]
                    gone = last != len(tree.points) - 1
                    yield Hit(match, tree.points[first], tree.points[last], gone)
    except ZdiffsyncError as error:
        yield Hit(error=f"The search ended here: {error}")
