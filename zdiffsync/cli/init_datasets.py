"""The first question of `init`: which datasets to back up.

Rule: what cannot be backed up is shown as such, and what is chosen is chosen once.
"""

import re
from collections.abc import Sequence

import click

from zdiffsync.errors import ToolError
from zdiffsync.external.zfs_facts import Inventoried, inventory
from zdiffsync.model.text import plural, size

_MOST = 40  # datasets shown; a machine with containers has hundreds
_WIDEST = 44  # characters of a name
_OWN_FILES = 50  # ZFS counts a few objects of its own as files


def choose_datasets() -> tuple[list[Inventoried], tuple[tuple[str, bool], ...]]:
    """Show the machine's datasets and ask; return all there are, and (name, with those below) chosen."""
    try:
        found = inventory()
    except ToolError as error:
        click.echo(f"No datasets: {error}.")
        found = []
    if not any(item.dataset.kind == "filesystem" for item in found):
        click.echo("There is no dataset to back up on this machine; name some in the configuration later.\n")
        return found, ()
    click.echo("Datasets of this machine:\n")
    _show(found)
    chosen = _ask(found)
    with_children = tuple((name, _with_children(name, found)) for name in chosen)
    click.echo()
    taken = [name for name, recursive in with_children if recursive]
    return found, tuple(
        (name, recursive)
        for name, recursive in with_children
        if not any(name.startswith(f"{above}/") for above in taken)
    )


def covered(found: Sequence[Inventoried], chosen: Sequence[tuple[str, bool]]) -> list[Inventoried]:
    """Return the datasets that runs would back up now."""
    return [
        item
        for item in found
        if item.dataset.uncovered_reason is None
        and any(
            item.dataset.name == name or (recursive and item.dataset.name.startswith(f"{name}/"))
            for name, recursive in chosen
        )
    ]


def _show(found: Sequence[Inventoried]) -> None:
    width = min(max(len(item.dataset.name) for item in found), _WIDEST)
    for number, item in enumerate(found[:_MOST], start=1):
        click.echo(
            f"{number:4}  {item.dataset.name:<{width}}  {size(item.referenced):>10}  {_about(item)}".rstrip()
        )
    if len(found) > _MOST:
        click.echo(f"      … and {len(found) - _MOST} more, which can be named")
    click.echo()


def _about(item: Inventoried) -> str:
    if item.dataset.kind == "volume":
        return "a zvol: not covered"
    if item.dataset.keystatus == "unavailable":
        return "its key is not loaded"
    if not item.dataset.mounted:
        return "not mounted"
    files = item.files or 0
    words = [f"about {plural(files, 'file')}"] if files > _OWN_FILES else []
    return ", ".join([*words, "encrypted"] if item.encrypted else words)


def _ask(found: Sequence[Inventoried]) -> list[str]:
    able = [item.dataset.name for item in found if item.dataset.uncovered_reason is None]
    while True:
        default = able[0] if len(able) == 1 else None
        text = click.prompt("Which ones? Numbers or names", default=default)
        words = [word for word in re.split(r"[\s,]+", text) if word]
        names: list[str] = []
        for word in words:
            name = _named(word, found)
            if name is None:
                break
            names.append(name)
        else:
            if names:
                return list(dict.fromkeys(names))


def _named(word: str, found: Sequence[Inventoried]) -> str | None:
    by_name = {item.dataset.name: item.dataset for item in found}
    name = word
    if word.isdecimal() and 0 < int(word) <= len(found):
        name = found[int(word) - 1].dataset.name
    if name not in by_name:
        click.echo(f"There is no dataset {word}.")
        return None
    dataset = by_name[name]
    if dataset.kind == "volume":
        click.echo(f"{name} is a zvol, a block device; zdiffsync backs up file systems.")
        return None
    if dataset.uncovered_reason is not None:
        click.echo(f"{name} {dataset.uncovered_reason}. Until then it is left out, and named.")
    return name


def _with_children(name: str, found: Sequence[Inventoried]) -> bool:
    below = sum(item.dataset.name.startswith(f"{name}/") for item in found)
    if not below:
        return False
    return click.confirm(f"Take along what is below {name}, now {plural(below, 'dataset')}?", default=True)
