"""The content of the files of runs, and which folders of runs wait to be taken in."""

import sqlalchemy as sa
from alembic import op

revision = "0011_run_files"
down_revision = "0010_history"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Let a file of a run name its content; files that are listed already stay where they lie."""
    for column in (
        sa.Column("digest", sa.LargeBinary),
        sa.Column("recipe", sa.LargeBinary),
        sa.Column("size", sa.BigInteger),
        sa.Column("modified", sa.Double),
    ):
        op.add_column("run_file", column)
    op.create_table(
        "run_folder",
        sa.Column("run_id", _KEY, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_folder_run_id_run", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", name="pk_run_folder"),
    )
