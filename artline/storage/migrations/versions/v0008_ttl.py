"""The time to live of single versions."""

import sqlalchemy as sa
from alembic import op

revision = "0008_ttl"
down_revision = "0007_drafts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let a version say for itself how long it is kept; those that are there go by their artifact's rule."""
    op.add_column("artifact_version", sa.Column("ttl", sa.Double))
