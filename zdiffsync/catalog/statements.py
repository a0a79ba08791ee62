"""The statements that a view of one point asks again and again, built once.

Beside catalog.view. Building a statement takes SQLAlchemy longer than SQLite takes to answer it.
Rule: `chain` and `sequence` say which point, everything else that varies is a parameter, too.
"""

from typing import Any

from sqlalchemy import BindParameter, ColumnElement, and_, bindparam, func, or_, select

from zdiffsync.catalog.prepared import Prepared
from zdiffsync.catalog.schema import ContentRow, DirentRow, ObjectRow, VersionRow

_CHAIN: BindParameter[int] = bindparam("chain")
_SEQUENCE: BindParameter[int] = bindparam("sequence")
_MANY: BindParameter[Any] = bindparam("many", expanding=True)


def _valid(row: type[DirentRow] | type[VersionRow]) -> ColumnElement[bool]:
    return and_(row.chain == _CHAIN, row.since <= _SEQUENCE, or_(row.until.is_(None), row.until > _SEQUENCE))


CHILD = Prepared(
    select(DirentRow.child).where(
        _valid(DirentRow), DirentRow.parent == bindparam("parent"), DirentRow.name == bindparam("name")
    )
)
NAMES = Prepared(
    select(DirentRow.name, DirentRow.child, ObjectRow.base_path)
    .outerjoin(ObjectRow, and_(ObjectRow.chain == DirentRow.chain, ObjectRow.number == DirentRow.child))
    .where(_valid(DirentRow), DirentRow.parent == bindparam("parent"))
)
PARENTS = Prepared(
    select(DirentRow.parent, DirentRow.name).where(_valid(DirentRow), DirentRow.child == bindparam("child"))
)
LINK_COUNTS = (
    select(DirentRow.child, func.count().label("names"))
    .where(_valid(DirentRow), DirentRow.child.in_(_MANY))
    .group_by(DirentRow.child)
)
BASE_PATH = Prepared(
    select(ObjectRow.base_path).where(ObjectRow.chain == _CHAIN, ObjectRow.number == bindparam("number"))
)
AT_BASE_PATH = Prepared(
    select(ObjectRow.number).where(ObjectRow.chain == _CHAIN, ObjectRow.base_path == bindparam("path"))
)
AT_BASE_PATHS = select(ObjectRow.base_path, ObjectRow.number).where(
    ObjectRow.chain == _CHAIN, ObjectRow.base_path.in_(_MANY)
)
ZFS_OBJECTS = select(ObjectRow.number, ObjectRow.zfs_object).where(
    ObjectRow.chain == _CHAIN, ObjectRow.number.in_(_MANY)
)
WITH_IDENTITY = Prepared(
    select(func.max(ObjectRow.number).label("number")).where(
        ObjectRow.chain == _CHAIN,
        ObjectRow.zfs_object == bindparam("zfs_object"),
        ObjectRow.generation == bindparam("generation"),
    )
)
VERSION = Prepared(
    select(VersionRow.__table__).where(_valid(VersionRow), VersionRow.object == bindparam("number"))
)
VERSIONS = select(VersionRow.__table__).where(_valid(VersionRow), VersionRow.object.in_(_MANY))
CONTENT = Prepared(
    select(ContentRow.__table__).where(ContentRow.chain == _CHAIN, ContentRow.number == bindparam("number"))
)
WITH_DIGEST = Prepared(
    select(ContentRow.__table__).where(
        ContentRow.chain == _CHAIN,
        ContentRow.digest == bindparam("digest"),
        ContentRow.size == bindparam("size"),
        ContentRow.pack.is_not(None),
    )
)
