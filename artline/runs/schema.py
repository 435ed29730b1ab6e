"""The tables of the runs room, declared on the catalog's shared metadata.

JSON documents are kept as text: NaN, infinities and integers of any size survive there on every database.
"""

from __future__ import annotations

import sqlalchemy as sa

from artline.artifacts.schema import upsert  # the module also declares `project`, which runs refer to
from artline.storage.schema import metadata

__all__ = [
    "metric_chunk",
    "metric_file",
    "metric_group",
    "metric_key",
    "run",
    "run_alert",
    "run_attr",
    "run_console",
    "run_file",
    "run_folder",
    "run_rewind",
    "run_tag",
    "run_writer",
    "upsert",
]

# SQLite only auto-increments a column declared INTEGER.
_Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _owner(table: str, *, primary_key: bool = False) -> sa.Column[int]:
    return sa.Column(
        f"{table}_id",
        _Key,
        sa.ForeignKey(f"{table}.id", ondelete="CASCADE"),
        primary_key=primary_key,
        autoincrement=False,
        nullable=False,
    )


run = sa.Table(
    "run",
    metadata,
    sa.Column("id", _Key, primary_key=True),
    sa.Column("project_id", _Key, sa.ForeignKey("project.id"), nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    # pending, running, finished, failed, crashed or killed
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("notes", sa.Text, nullable=False),
    sa.Column("group_name", sa.Text, nullable=False),
    sa.Column("job_type", sa.Text, nullable=False),
    # Times are seconds since the epoch; durations are seconds.
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
    sa.UniqueConstraint("project_id", "run_id", name="uq_run_project_run"),
    sa.Index("ix_run_created", "project_id", "created_at", "id"),
    sa.Index("ix_run_state", "state"),
)

run_tag = sa.Table(
    "run_tag",
    metadata,
    _owner("run", primary_key=True),
    sa.Column("tag", sa.Text, primary_key=True),
    sa.Index("ix_run_tag_tag", "tag"),
    sqlite_with_rowid=False,
)

run_writer = sa.Table(
    "run_writer",
    metadata,
    sa.Column("id", _Key, primary_key=True),
    _owner("run"),
    sa.Column("writer", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    # Where reading the journal resumes, and the sequence number expected there.
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    # running, finished, failed, crashed or killed
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double),
    sa.Column("heartbeat_at", sa.Double, nullable=False),
    sa.Column("runtime", sa.Double, nullable=False),
    sa.Column("exit_code", sa.Integer),
    sa.Column("process", sa.Text, nullable=False),
    # Where and why the journal cannot be read on, empty when it can.
    sa.Column("damage", sa.Text, nullable=False),
    sa.UniqueConstraint("run_id", "writer", name="uq_run_writer_writer"),
    sa.Index("ix_run_writer_state", "state"),
)

run_rewind = sa.Table(
    "run_rewind",
    metadata,
    _owner("run_writer", primary_key=True),
    _owner("run"),
    # History of earlier attempts beyond this step counts no longer.
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Index("ix_run_rewind_run", "run_id"),
)

run_alert = sa.Table(
    "run_alert",
    metadata,
    sa.Column("id", _Key, primary_key=True),
    _owner("run"),
    _owner("run_writer"),
    sa.Column("at", sa.Double, nullable=False),
    # INFO, WARN or ERROR
    sa.Column("level", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Index("ix_run_alert_run", "run_id", "at"),
)

metric_group = sa.Table(
    "metric_group",
    metadata,
    sa.Column("id", _Key, primary_key=True),
    _owner("run"),
    _owner("run_writer"),
    sa.Column("stream", sa.Text, nullable=False),
    # Digest of the keys and their kinds: what is logged together lies together.
    sa.Column("signature", sa.Text, nullable=False),
    sa.Column("row_count", sa.BigInteger, nullable=False),
    sa.Column("next_seq", sa.BigInteger, nullable=False),
    # JSON: of each level the first chunk whose entries the next level does not have yet.
    sa.Column("raised", sa.Text, nullable=False, server_default="[]"),
    # The first chunk of rows that is not in a Parquet file yet.
    sa.Column("sealed", sa.BigInteger, nullable=False, server_default="0"),
    sa.UniqueConstraint("run_writer_id", "stream", "signature", name="uq_metric_group_signature"),
    sa.Index("ix_metric_group_run", "run_id"),
)

metric_key = sa.Table(
    "metric_key",
    metadata,
    _owner("metric_group", primary_key=True),
    # 1, 2, …: 0 is the axis of the group.
    sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("run_id", _Key, nullable=False),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    # The key in a length that every database indexes.
    sa.Column("lookup", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Index("ix_metric_key_lookup", "run_id", "stream", "lookup"),
)

metric_chunk = sa.Table(
    "metric_chunk",
    metadata,
    sa.Column("id", _Key, primary_key=True),
    _owner("metric_group"),
    # 0 holds rows; a pyramid's coarser levels follow.
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
    # The bytes are here, or in the bucket at the location. They come last: SQLite would have to walk
    # through them to whatever followed.
    sa.Column("location", sa.Text),
    sa.Column("payload", sa.LargeBinary),
    sa.UniqueConstraint("metric_group_id", "level", "ordinal", "seq", name="uq_metric_chunk_place"),
)

# A file has its row before it enters the bucket, and keeps it when its group goes: so the collector knows
# what it may remove.
metric_file = sa.Table(
    "metric_file",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("metric_group_id", _Key, sa.ForeignKey("metric_group.id", ondelete="SET NULL")),
    # Nothing of files that were sealed before it was kept.
    sa.Column("size", sa.BigInteger),
    # A FileState.
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("condemned_at", sa.Double),
    sa.Index("ix_metric_file_group", "metric_group_id"),
    sqlite_with_rowid=False,
)

run_console = sa.Table(
    "run_console",
    metadata,
    _owner("run", primary_key=True),
    # A run's output is one sequence of bytes: a chunk begins at `start` and holds `size` of them.
    sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("line_count", sa.Integer, nullable=False),
    sa.Column("time_min", sa.Double, nullable=False),
    sa.Column("time_max", sa.Double, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
)

run_file = sa.Table(
    "run_file",
    metadata,
    _owner("run", primary_key=True),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("policy", sa.Text, nullable=False),
    # Of its content in the store; nothing while it only lies in the run's folder.
    sa.Column("digest", sa.LargeBinary),
    sa.Column("recipe", sa.LargeBinary),
    sa.Column("size", sa.BigInteger),
    sa.Column("modified", sa.Double),
    sqlite_with_rowid=False,
)

# Runs whose folder may hold files that are not in the content store: from the beginning of a writer until
# the folder was taken in after its end.
run_folder = sa.Table("run_folder", metadata, _owner("run", primary_key=True))

run_attr = sa.Table(
    "run_attr",
    metadata,
    _owner("run", primary_key=True),
    # config.… or summary.…, dotted
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("project_id", _Key, nullable=False),
    # n number, b boolean, s text, z null, j any other JSON value
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("number", sa.Double),
    sa.Column("text", sa.Text),
    # With the kind, a filter is answered from the index alone.
    # With run and kind at their ends the indexes answer filters and orders alone.
    sa.Index("ix_run_attr_number", "project_id", "key", "number", "run_id", "kind"),
    sa.Index("ix_run_attr_text", "project_id", "key", "text", "run_id", "kind"),
    sqlite_with_rowid=False,
)
