"""Long lists in pages. Rule: what stands in the address is never trusted to be a page there is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[_Item]):
    """A part of a list: `items`, of `total`, from number `first` on; pages count from 1."""

    items: Sequence[_Item]
    total: int
    first: int
    number: int
    last: int

    @classmethod
    def of(cls, items: Sequence[_Item], wanted: str, length: int) -> Self:
        """Return page `wanted`, a number as text, of pages of `length` items."""
        last = max(1, -(-len(items) // length))
        number = min(max(1, int(wanted) if wanted.isdecimal() and len(wanted) < 10 else 1), last)  # noqa: PLR2004
        first = (number - 1) * length
        return cls(items[first : first + length], len(items), first, number, last)
