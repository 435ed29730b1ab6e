"""The alerts that runs sent."""

import sqlalchemy as sa
from alembic import op

revision = "0012_alerts"
down_revision = "0011_run_files"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make room for alerts."""
    op.create_table(
        "run_alert",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("run_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("run_writer_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("level", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_alert_run_id_run", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["run_writer_id"],
            ["run_writer.id"],
            name="fk_run_alert_run_writer_id_run_writer",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_run_alert"),
    )
    op.create_index("ix_run_alert_run", "run_alert", ["run_id", "at"])
