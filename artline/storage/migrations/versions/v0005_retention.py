"""Retention rules: which versions of an artifact the collector lets go."""

import sqlalchemy as sa
from alembic import op

revision = "0005_retention"
down_revision = "0004_links"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of retention rules."""
    key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "artifact_rule",
        sa.Column("artifact_id", key, autoincrement=False, nullable=False),
        sa.Column("ttl", sa.Double),
        sa.Column("keep_last", sa.BigInteger),
        sa.Column("keep_aliased", sa.Boolean, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("artifact_id", name="pk_artifact_rule"),
        sa.ForeignKeyConstraint(
            ["artifact_id"], ["artifact.id"], name="fk_artifact_rule_artifact_id_artifact"
        ),
    )
