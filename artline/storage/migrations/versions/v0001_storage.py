"""Packs, the chunk index, leases."""

import sqlalchemy as sa
from alembic import op

revision = "0001_storage"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the storage tables."""
    op.create_table(
        "store_meta",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_store_meta"),
    )
    op.create_table(
        "pack",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("blocks", sa.Integer, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("condemned_at", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_pack"),
        sa.UniqueConstraint("name", name="uq_pack_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "chunk",
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("pack_id", sa.Integer, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("stored_size", sa.Integer, nullable=False),
        sa.Column("raw_size", sa.Integer, nullable=False),
        sa.Column("kind", sa.SmallInteger, nullable=False),
        sa.Column("codec", sa.SmallInteger, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_chunk"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "lease",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("ended_epoch", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_lease"),
    )
    op.create_table(
        "lease_pack",
        sa.Column("lease_id", sa.String(32), nullable=False),
        sa.Column("pack_id", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("lease_id", "pack_id", name="pk_lease_pack"),
        sa.ForeignKeyConstraint(
            ["lease_id"], ["lease.id"], name="fk_lease_pack_lease_id_lease", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["pack_id"], ["pack.id"], name="fk_lease_pack_pack_id_pack", ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_lease_pack_pack_id", "lease_pack", ["pack_id"])
    op.create_table(
        "orphan",
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_orphan"),
        sqlite_with_rowid=False,
    )
