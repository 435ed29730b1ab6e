"""Projects, artifacts, their versions, aliases, tags, history and lineage edges."""

import sqlalchemy as sa
from alembic import op

revision = "0002_artifacts"
down_revision = "0001_storage"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the artifacts tables."""
    key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "project",
        sa.Column("id", key, nullable=False),
        sa.Column("entity", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_project"),
        sa.UniqueConstraint("entity", "name", name="uq_project_entity_name"),
    )
    op.create_table(
        "artifact",
        sa.Column("id", key, nullable=False),
        sa.Column("project_id", key, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("next_version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_artifact"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_artifact_project_id_project"),
        sa.UniqueConstraint("project_id", "name", name="uq_artifact_project_id_name"),
    )
    op.create_table(
        "artifact_version",
        sa.Column("id", key, nullable=False),
        sa.Column("artifact_id", key, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("file_count", sa.BigInteger, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("deleted_at", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_artifact_version"),
        sa.ForeignKeyConstraint(
            ["artifact_id"], ["artifact.id"], name="fk_artifact_version_artifact_id_artifact"
        ),
        sa.UniqueConstraint("artifact_id", "number", name="uq_artifact_version_artifact_id_number"),
    )
    op.create_index("ix_artifact_version_artifact_id_digest", "artifact_version", ["artifact_id", "digest"])
    op.create_table(
        "artifact_alias",
        sa.Column("artifact_id", key, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version_id", key, nullable=False),
        sa.Column("moved_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("artifact_id", "name", name="pk_artifact_alias"),
        sa.ForeignKeyConstraint(
            ["artifact_id"], ["artifact.id"], name="fk_artifact_alias_artifact_id_artifact"
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["artifact_version.id"], name="fk_artifact_alias_version_id_artifact_version"
        ),
    )
    op.create_index("ix_artifact_alias_version_id", "artifact_alias", ["version_id"])
    op.create_table(
        "artifact_tag",
        sa.Column("version_id", key, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("version_id", "name", name="pk_artifact_tag"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["artifact_version.id"], name="fk_artifact_tag_version_id_artifact_version"
        ),
    )
    op.create_table(
        "artifact_event",
        sa.Column("id", key, nullable=False),
        sa.Column("version_id", key, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_artifact_event"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["artifact_version.id"], name="fk_artifact_event_version_id_artifact_version"
        ),
    )
    op.create_index("ix_artifact_event_version_id", "artifact_event", ["version_id"])
    op.create_table(
        "artifact_edge",
        sa.Column("id", key, nullable=False),
        sa.Column("version_id", key, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("use_as", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_artifact_edge"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["artifact_version.id"], name="fk_artifact_edge_version_id_artifact_version"
        ),
        sa.UniqueConstraint("version_id", "run", "role", name="uq_artifact_edge_version_id_run_role"),
    )
    op.create_index("ix_artifact_edge_run_role", "artifact_edge", ["run", "role"])
