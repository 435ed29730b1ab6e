"""Links of versions into collections, and aliases that are protected."""

import sqlalchemy as sa
from alembic import op

revision = "0004_links"
down_revision = "0003_runs"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of links and protected aliases."""
    key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "artifact_link",
        sa.Column("version_id", key, autoincrement=False, nullable=False),
        sa.Column("source_id", key, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("version_id", name="pk_artifact_link"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["artifact_version.id"], name="fk_artifact_link_version_id_artifact_version"
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["artifact_version.id"], name="fk_artifact_link_source_id_artifact_version"
        ),
    )
    op.create_index("ix_artifact_link_source_id", "artifact_link", ["source_id"])
    op.create_table(
        "artifact_protection",
        sa.Column("artifact_id", key, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("artifact_id", "name", name="pk_artifact_protection"),
        sa.ForeignKeyConstraint(
            ["artifact_id"], ["artifact.id"], name="fk_artifact_protection_artifact_id_artifact"
        ),
    )
