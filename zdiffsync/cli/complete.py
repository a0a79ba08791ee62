"""What the commands' arguments are completed by; cli.offers does it.

Rule: no command pays for what only Tab needs.
"""

from collections.abc import Callable
from importlib import import_module

import click
from click.shell_completion import CompletionItem

_Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]


def _later(name: str) -> _Complete:
    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        offer: _Complete = getattr(import_module("zdiffsync.cli.offers"), name)
        return offer(context, parameter, incomplete)

    return complete


points = _later("points")
locations = _later("locations")
locations_then_paths = _later("locations_then_paths")
paths_ever = _later("paths_ever")
paths_of_second = _later("paths_of_second")
datasets = _later("datasets")
