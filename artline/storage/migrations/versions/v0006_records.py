"""Records of changes: what the bucket's records do not tell yet."""

import sqlalchemy as sa
from alembic import op

revision = "0006_records"
down_revision = "0005_retention"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Number the changes of artifacts; create and fill the table of what is unrecorded."""
    key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.add_column("artifact", sa.Column("changes", sa.BigInteger, nullable=False, server_default="0"))
    op.create_table(
        "artifact_outbox",
        sa.Column("id", key, autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("row_id", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_artifact_outbox"),
    )
    for kind, table in (
        ("artifact", "artifact"),
        ("version", "artifact_version"),
        ("edge", "artifact_edge"),
        ("event", "artifact_event"),
    ):
        op.execute(f"INSERT INTO artifact_outbox (kind, row_id) SELECT '{kind}', id FROM {table} ORDER BY id")
