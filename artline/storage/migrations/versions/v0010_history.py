"""History at any size: pyramids over chunks, sealed chunks, and rewinds."""

import sqlalchemy as sa
from alembic import op

revision = "0010_history"
down_revision = "0009_record_names"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Note how far each group's chunks are raised and sealed, and from where runs were rewound.

    Chunks that are there already are raised when their group next fills one, and read row by row until then.
    """
    key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.add_column("metric_group", sa.Column("raised", sa.Text, nullable=False, server_default="[]"))
    op.add_column("metric_group", sa.Column("sealed", sa.BigInteger, nullable=False, server_default="0"))
    op.create_table(
        "run_rewind",
        sa.Column("run_writer_id", key, autoincrement=False, nullable=False),
        sa.Column("run_id", key, autoincrement=False, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("run_writer_id", name="pk_run_rewind"),
        sa.ForeignKeyConstraint(
            ["run_writer_id"],
            ["run_writer.id"],
            name="fk_run_rewind_run_writer_id_run_writer",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_rewind_run_id_run", ondelete="CASCADE"),
    )
    op.create_index("ix_run_rewind_run", "run_rewind", ["run_id"])
