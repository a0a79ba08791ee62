"""The catalog's tables; docs/catalog.md describes them column by column.

Rule: rows grow with changes, never with files. An unchanged file of the base has no row.
`since` and `until` are sequence numbers in a chain: a row holds for since <= point < until
(until NULL: still holds).
"""

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, LargeBinary, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

VERSION = 4


class Base(DeclarativeBase):
    """Maps Python types to columns."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads this plain dict
        # 64 bits everywhere; SQLite's have them anyway, and number new rows only under this name.
        int: BigInteger().with_variant(Integer, "sqlite"),
        bytes: LargeBinary,
        dict[str, Any]: JSON,
        list[str]: JSON,
    }


class ChainRow(Base):
    """A base and its increments."""

    __tablename__ = "chain"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    dataset: Mapped[str] = mapped_column(index=True)
    dataset_guid: Mapped[str]
    restic: Mapped[str | None]
    base_ns: Mapped[int]
    excludes: Mapped[str]


class PointRow(Base):
    """A committed restore point."""

    __tablename__ = "point"
    __table_args__ = (UniqueConstraint("chain", "sequence"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(unique=True)
    chain: Mapped[int] = mapped_column(ForeignKey("chain.id"))
    first: Mapped[int]
    sequence: Mapped[int]
    revision: Mapped[int]
    host: Mapped[str]
    snapshot: Mapped[str]
    guid: Mapped[str]
    createtxg: Mapped[int]
    created_ns: Mapped[int]
    tags: Mapped[list[str]]
    keep: Mapped[bool]
    stats: Mapped[dict[str, Any]]


class ObjectRow(Base):
    """An object the overlay knows: changed, moved, new, or the parent of such a one."""

    __tablename__ = "object"
    __table_args__ = (
        Index("object_identity", "chain", "zfs_object", "generation"),
        Index("object_base_path", "chain", "base_path").ddl_if(dialect="sqlite"),
        # The other kind takes 2,704 bytes there, and a path may be longer.
        Index("object_base_path_hash", "base_path", postgresql_using="hash").ddl_if(dialect="postgresql"),
    )

    chain: Mapped[int] = mapped_column(ForeignKey("chain.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    zfs_object: Mapped[int]
    generation: Mapped[int]
    base_path: Mapped[bytes | None]


class DirentRow(Base):
    """A name in a directory object and what it leads to (child NULL: the base's name is gone)."""

    __tablename__ = "dirent"
    __table_args__ = (
        Index("dirent_name", "chain", "parent", "name"),
        Index("dirent_child", "chain", "child"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    chain: Mapped[int] = mapped_column(ForeignKey("chain.id"))
    parent: Mapped[int]
    name: Mapped[bytes]
    child: Mapped[int | None]
    since: Mapped[int]
    until: Mapped[int | None]


class VersionRow(Base):
    """Metadata and content of an object over a span of points."""

    __tablename__ = "version"
    __table_args__ = (Index("version_object", "chain", "object"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    chain: Mapped[int] = mapped_column(ForeignKey("chain.id"))
    object: Mapped[int]
    since: Mapped[int]
    until: Mapped[int | None]
    type: Mapped[str]
    mode: Mapped[int]
    uid: Mapped[int]
    gid: Mapped[int]
    mtime_ns: Mapped[int]
    size: Mapped[int]
    rdev: Mapped[int]
    target: Mapped[bytes | None]
    xattrs: Mapped[bytes | None]
    content: Mapped[int | None]


class ContentRow(Base):
    """A stored content and where its blob lies (see format.manifest.ContentRecord)."""

    __tablename__ = "content"
    __table_args__ = (
        Index("content_digest", "chain", "digest"),
        Index("content_pack", "pack"),
        Index("content_source", "chain", "source"),
    )

    chain: Mapped[int] = mapped_column(ForeignKey("chain.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    sequence: Mapped[int]
    size: Mapped[int]
    digest: Mapped[str]
    windowed: Mapped[bool]
    pack: Mapped[str | None]
    offset: Mapped[int]
    length: Mapped[int]
    source: Mapped[int | None]
    source_path: Mapped[bytes | None]
    depth: Mapped[int]


class PortionRow(Base):
    """How many bytes of a windowed content lie in a pack; of others it is the length of their blob."""

    __tablename__ = "portion"
    __table_args__ = (Index("portion_pack", "pack"),)

    chain: Mapped[int] = mapped_column(ForeignKey("chain.id"), primary_key=True)
    content: Mapped[int] = mapped_column(primary_key=True)
    pack: Mapped[str] = mapped_column(primary_key=True)
    size: Mapped[int]


class PackRow(Base):
    """An uploaded pack: plain size and digest."""

    __tablename__ = "pack"

    key: Mapped[str] = mapped_column(primary_key=True)
    chain: Mapped[int] = mapped_column(ForeignKey("chain.id"), index=True)
    size: Mapped[int]
    sha256: Mapped[str]


class LinkRow(Base):
    """The ledger: one path of an object that has, or once had, several names."""

    __tablename__ = "link"
    __table_args__ = (Index("link_object", "chain", "zfs_object", "generation"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    chain: Mapped[int] = mapped_column(ForeignKey("chain.id"))
    zfs_object: Mapped[int]
    generation: Mapped[int]
    name: Mapped[bytes]


class RunRow(Base):
    """The journal: a run that has taken its snapshot and not yet committed its point."""

    __tablename__ = "run"

    dataset: Mapped[str] = mapped_column(primary_key=True)
    chain: Mapped[str]
    sequence: Mapped[int]
    snapshot: Mapped[str]
    guid: Mapped[str]
    parent_guid: Mapped[str | None]
    restic: Mapped[str | None]


class JournalRow(Base):
    """The journal: a pack already verified on the remote, or a content that lies wholly in such packs."""

    __tablename__ = "journal"

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset: Mapped[str] = mapped_column(index=True)
    zfs_object: Mapped[int | None]
    generation: Mapped[int | None]
    record: Mapped[dict[str, Any]]
