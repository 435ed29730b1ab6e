"""The names of record objects: what a bucket that lists late does not list yet."""

import sqlalchemy as sa
from alembic import op

revision = "0009_record_names"
down_revision = "0008_ttl"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of the names; the objects that are there already are listed by now."""
    op.create_table(
        "record_object",
        sa.Column("name", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_record_object"),
        sqlite_with_rowid=False,
    )
