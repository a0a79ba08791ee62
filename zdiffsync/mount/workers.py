"""Blocking work beside the event loop: threads, a bound on their number, a bound on every wait.

Rule: who waits gets an answer or an error within `patience`; a thread that hangs longer is left to
itself, and as many others as there are slots go on.
"""

import functools
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

from zdiffsync.errors import RemoteError

_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")

PATIENCE = 120.0  # seconds
_LISTING = 16  # directories loaded at once
_READING = 48  # reads at once: enough for slow remotes, and for some that hang


class Workers:
    """Runs functions in threads. For tasks of one event loop; `patience` in seconds."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._listing = trio.CapacityLimiter(_LISTING)
        self._reading = trio.CapacityLimiter(_READING)

    async def listing(self, function: Callable[[*_Arguments], _Result], *arguments: *_Arguments) -> _Result:
        """Run a function that loads a directory. Raises RemoteError when it takes too long."""
        return await self._run(self._listing, functools.partial(function, *arguments))

    async def reading(self, function: Callable[[*_Arguments], _Result], *arguments: *_Arguments) -> _Result:
        """Run a function that reads bytes. Raises RemoteError when it takes too long."""
        return await self._run(self._reading, functools.partial(function, *arguments))

    async def _run(self, limiter: trio.CapacityLimiter, function: Callable[[], _Result]) -> _Result:
        try:
            with trio.fail_after(self._patience):
                return await trio.to_thread.run_sync(function, abandon_on_cancel=True, limiter=limiter)
        except trio.TooSlowError as error:
            raise RemoteError(f"no answer within {self._patience:g} s; try again") from error
