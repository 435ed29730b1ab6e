"""The storage room's tables, on the metadata that every room declares its own tables on."""

from __future__ import annotations

import sqlalchemy as sa

__all__ = [
    "PackState",
    "chunk",
    "lease",
    "lease_pack",
    "metadata",
    "orphan",
    "pack",
    "record_object",
    "store_meta",
]

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    }
)


class PackState:
    """The states a pack goes through: live, condemned (may be revived), deleting (object being removed)."""

    LIVE = 0
    CONDEMNED = 1
    DELETING = 2


store_meta = sa.Table(
    "store_meta",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

pack = sa.Table(
    "pack",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(32), nullable=False, unique=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("blocks", sa.Integer, nullable=False),
    sa.Column("state", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("condemned_at", sa.Double),
    sqlite_autoincrement=True,
)

# Small rows under a random key: a clustered B-tree on SQLite, so that a lookup is one descent. No foreign
# key: without an index on pack_id (which would double the cost of an insert) it makes deletes scan the table.
chunk = sa.Table(
    "chunk",
    metadata,
    sa.Column("digest", sa.LargeBinary(32), primary_key=True),
    sa.Column("pack_id", sa.Integer, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("stored_size", sa.Integer, nullable=False),
    sa.Column("raw_size", sa.Integer, nullable=False),
    sa.Column("kind", sa.SmallInteger, nullable=False),
    sa.Column("codec", sa.SmallInteger, nullable=False),
    sqlite_with_rowid=False,
)

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("ended_epoch", sa.BigInteger),
)

lease_pack = sa.Table(
    "lease_pack",
    metadata,
    sa.Column("lease_id", sa.String(32), sa.ForeignKey("lease.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("pack_id", sa.Integer, sa.ForeignKey("pack.id", ondelete="CASCADE"), primary_key=True),
    sa.Index("ix_lease_pack_pack_id", "pack_id"),
    sqlite_with_rowid=False,
)

# Objects in the bucket that no row names, with the time the collector first saw them.
orphan = sa.Table(
    "orphan",
    metadata,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("seen_at", sa.Double, nullable=False),
    sqlite_with_rowid=False,
)

# Record objects of this catalog, as a bucket may list them late; rows go when the objects do.
record_object = sa.Table(
    "record_object",
    metadata,
    sa.Column("name", sa.String(128), primary_key=True),
    sqlite_with_rowid=False,
)
