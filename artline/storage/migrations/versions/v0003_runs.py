"""Runs, their writers, metric history, console output, and the index the runs table uses."""

import sqlalchemy as sa
from alembic import op

revision = "0003_runs"
down_revision = "0002_artifacts"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables of the runs room."""
    op.create_table(
        "run",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("project_id", _KEY, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("notes", sa.Text, nullable=False),
        sa.Column("group_name", sa.Text, nullable=False),
        sa.Column("job_type", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("heartbeat_at", sa.Double, nullable=False),
        sa.Column("runtime", sa.Double, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("last_step", sa.BigInteger),
        sa.Column("config", sa.Text, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("summary_state", sa.Text, nullable=False),
        sa.Column("definitions", sa.Text, nullable=False),
        sa.Column("info", sa.Text, nullable=False),
        sa.Column("console_bytes", sa.BigInteger, nullable=False),
        sa.Column("deleted_at", sa.Double),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_run_project_id_project"),
        sa.PrimaryKeyConstraint("id", name="pk_run"),
        sa.UniqueConstraint("project_id", "run_id", name="uq_run_project_run"),
    )
    op.create_index("ix_run_created", "run", ["project_id", "created_at", "id"])
    op.create_index("ix_run_state", "run", ["state"])
    op.create_table(
        "run_attr",
        sa.Column("run_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("project_id", _KEY, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("number", sa.Double),
        sa.Column("text", sa.Text),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_attr_run_id_run", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "key", name="pk_run_attr"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_run_attr_number", "run_attr", ["project_id", "key", "number", "run_id", "kind"])
    op.create_index("ix_run_attr_text", "run_attr", ["project_id", "key", "text", "run_id", "kind"])
    op.create_table(
        "run_console",
        sa.Column("run_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("start", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("line_count", sa.Integer, nullable=False),
        sa.Column("time_min", sa.Double, nullable=False),
        sa.Column("time_max", sa.Double, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_console_run_id_run", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "start", name="pk_run_console"),
    )
    op.create_table(
        "run_file",
        sa.Column("run_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_file_run_id_run", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "path", name="pk_run_file"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "run_tag",
        sa.Column("run_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("tag", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_tag_run_id_run", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "tag", name="pk_run_tag"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_run_tag_tag", "run_tag", ["tag"])
    op.create_table(
        "run_writer",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("run_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("writer", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("heartbeat_at", sa.Double, nullable=False),
        sa.Column("runtime", sa.Double, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("process", sa.Text, nullable=False),
        sa.Column("damage", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_writer_run_id_run", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_run_writer"),
        sa.UniqueConstraint("run_id", "writer", name="uq_run_writer_writer"),
    )
    op.create_index("ix_run_writer_state", "run_writer", ["state"])
    op.create_table(
        "metric_group",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("run_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("run_writer_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("signature", sa.Text, nullable=False),
        sa.Column("row_count", sa.BigInteger, nullable=False),
        sa.Column("next_seq", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["run.id"], name="fk_metric_group_run_id_run", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["run_writer_id"],
            ["run_writer.id"],
            name="fk_metric_group_run_writer_id_run_writer",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_metric_group"),
        sa.UniqueConstraint("run_writer_id", "stream", "signature", name="uq_metric_group_signature"),
    )
    op.create_index("ix_metric_group_run", "metric_group", ["run_id"])
    op.create_table(
        "metric_chunk",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("metric_group_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("step_min", sa.BigInteger, nullable=False),
        sa.Column("step_max", sa.BigInteger, nullable=False),
        sa.Column("time_min", sa.Double, nullable=False),
        sa.Column("time_max", sa.Double, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("value_min", sa.Double),
        sa.Column("value_max", sa.Double),
        sa.Column("value_last", sa.Double),
        sa.Column("location", sa.Text),
        sa.Column("payload", sa.LargeBinary),
        sa.ForeignKeyConstraint(
            ["metric_group_id"],
            ["metric_group.id"],
            name="fk_metric_chunk_metric_group_id_metric_group",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_metric_chunk"),
        sa.UniqueConstraint("metric_group_id", "level", "ordinal", "seq", name="uq_metric_chunk_place"),
    )
    op.create_table(
        "metric_key",
        sa.Column("metric_group_id", _KEY, autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("run_id", _KEY, nullable=False),
        sa.Column("stream", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("lookup", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(
            ["metric_group_id"],
            ["metric_group.id"],
            name="fk_metric_key_metric_group_id_metric_group",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("metric_group_id", "ordinal", name="pk_metric_key"),
    )
    op.create_index("ix_metric_key_lookup", "metric_key", ["run_id", "stream", "lookup"])
