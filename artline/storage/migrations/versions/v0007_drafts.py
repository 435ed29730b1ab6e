"""Distributed drafts: what several runs contributed to a version that is not finished yet."""

import sqlalchemy as sa
from alembic import op

revision = "0007_drafts"
down_revision = "0006_records"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables of drafts and of what was contributed to them."""
    key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "artifact_draft",
        sa.Column("id", key, autoincrement=True, nullable=False),
        sa.Column("project_id", key, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("distributed_id", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("touched_at", sa.Double, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("version_id", key),
        sa.PrimaryKeyConstraint("id", name="pk_artifact_draft"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_artifact_draft_project_id_project"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["artifact_version.id"], name="fk_artifact_draft_version_id_artifact_version"
        ),
        sa.UniqueConstraint(
            "project_id", "name", "distributed_id", name="uq_artifact_draft_project_id_name_distributed_id"
        ),
    )
    op.create_table(
        "artifact_contribution",
        sa.Column("draft_id", key, autoincrement=False, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("file_count", sa.BigInteger, nullable=False),
        sa.Column("metadata", sa.Text),
        sa.Column("description", sa.Text),
        sa.Column("incremental", sa.Boolean, nullable=False),
        sa.Column("aliases", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("draft_id", "run", name="pk_artifact_contribution"),
        sa.ForeignKeyConstraint(
            ["draft_id"], ["artifact_draft.id"], name="fk_artifact_contribution_draft_id_artifact_draft"
        ),
    )
