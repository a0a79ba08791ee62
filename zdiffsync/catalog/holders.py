"""Who needs what lies in packs: from a damaged pack to the files and points that cannot do without it.

Used by check and repair. Rule: one pass over the versions answers for any number of packs, so what is
found may be much without taking longer.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, or_, select

from zdiffsync.catalog.schema import ContentRow, PackRow, PortionRow, VersionRow
from zdiffsync.catalog.timeline import ENDLESS
from zdiffsync.catalog.view import parts
from zdiffsync.model.entry import EntryType


@dataclass(frozen=True, slots=True, order=True)
class ContentKey:
    """A content: the id of its chain in this catalog, and its number."""

    chain: int
    number: int


@dataclass(frozen=True, slots=True)
class Use:
    """From point `since` to before `until` of the content's chain, an object has this content."""

    content: ContentKey
    object: int
    since: int
    until: int


class Holders:
    """Questions about contents, packs and those who need them, through an open connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def within(self, pack: str) -> set[ContentKey]:
        """Return the contents that have bytes in a pack."""
        tables = (
            select(ContentRow.chain, ContentRow.number).where(ContentRow.pack == pack),
            select(PortionRow.chain, PortionRow.content).where(PortionRow.pack == pack),
        )
        return {ContentKey(*row) for table in tables for row in self._connection.execute(table)}

    def lost(self) -> set[ContentKey]:
        """Return the contents that were given up."""
        statement = select(ContentRow.chain, ContentRow.number).where(ContentRow.pack.is_(None))
        return {ContentKey(*row) for row in self._connection.execute(statement)}

    def lost_in(self, chain: int) -> frozenset[int]:
        """Return the numbers of a chain's contents that were given up, and of all that are deltas of them."""
        given_up = {content for content in self.lost() if content.chain == chain}
        return frozenset(content.number for content in self.with_dependents(given_up))

    def with_dependents(self, contents: Iterable[ContentKey]) -> set[ContentKey]:
        """Return contents with all that are deltas of them, directly or through others."""
        found: set[ContentKey] = set()
        new = set(contents)
        while new:
            found |= new
            new = self._deltas_of(new) - found
        return found

    def _deltas_of(self, contents: Iterable[ContentKey]) -> set[ContentKey]:
        by_chain: dict[int, list[int]] = {}
        for content in contents:
            by_chain.setdefault(content.chain, []).append(content.number)
        return {
            ContentKey(chain, number)
            for chain, numbers in by_chain.items()
            for part in parts(numbers)
            for number in self._connection.execute(
                select(ContentRow.number).where(ContentRow.chain == chain, ContentRow.source.in_(part))
            ).scalars()
        }

    def uses(self, contents: Mapping[ContentKey, object]) -> Iterator[Use]:
        """Yield every use of these contents by an object."""
        if not contents:
            return
        columns = (
            VersionRow.chain,
            VersionRow.content,
            VersionRow.object,
            VersionRow.since,
            VersionRow.until,
        )
        chains = {content.chain for content in contents}
        statement = select(*columns).where(VersionRow.content > 0, VersionRow.chain.in_(chains))
        for row in self._connection.execute(statement):
            key = ContentKey(row.chain, row.content)
            if key in contents:
                yield Use(key, row.object, row.since, ENDLESS if row.until is None else row.until)

    def some_files(self, chain: int, sequence: int, count: int) -> list[int]:
        """Return random objects, `count` at most, that are files with stored bytes at a point."""
        statement = (
            select(VersionRow.object)
            .where(
                VersionRow.chain == chain,
                VersionRow.type == EntryType.FILE.value,
                VersionRow.content.is_not(None),
                VersionRow.since <= sequence,
                or_(VersionRow.until.is_(None), VersionRow.until > sequence),
            )
            .order_by(func.random())
            .limit(count)
        )
        return list(self._connection.execute(statement).scalars())

    def known(self, packs: Iterable[str]) -> set[str]:
        """Return those of these packs that some manifest names."""
        return {
            key
            for part in parts(packs)
            for key in self._connection.execute(select(PackRow.key).where(PackRow.key.in_(part))).scalars()
        }

    def packs_of(self, chains: Iterable[int]) -> set[str]:
        """Return the packs of chains, by the chains' ids."""
        statement = select(PackRow.key).where(PackRow.chain.in_(list(chains)))
        return set(self._connection.execute(statement).scalars())
