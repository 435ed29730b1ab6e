"""The Parquet files that histories are sealed in."""

import sqlalchemy as sa
from alembic import op

revision = "0013_metric_files"
down_revision = "0012_alerts"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Give each sealed file a row, those that are named already included; only their size is unknown."""
    table = op.create_table(
        "metric_file",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("metric_group_id", _KEY),
        sa.Column("size", sa.BigInteger),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("condemned_at", sa.Double),
        sa.ForeignKeyConstraint(
            ["metric_group_id"],
            ["metric_group.id"],
            name="fk_metric_file_metric_group_id_metric_group",
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("name", name="pk_metric_file"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_metric_file_group", "metric_file", ["metric_group_id"])
    rows = op.get_bind().exec_driver_sql(
        "SELECT c.metric_group_id, c.location FROM metric_chunk c "
        "JOIN metric_group g ON g.id = c.metric_group_id "
        "WHERE g.sealed > 0 AND c.level = 0 AND c.ordinal = 0 AND c.location IS NOT NULL"
    )
    names = {location.rpartition("#")[0]: group for group, location in rows}
    if names:
        values = [
            {"name": name, "metric_group_id": group, "size": None, "state": 1, "created_at": 0.0}
            for name, group in sorted(names.items())
        ]
        op.bulk_insert(table, values)
