"""Tables of projects, artifacts, their versions, and which run made or used them.

Times are seconds since 1970, JSON is text, digests are raw. Rows of versions are never removed: a number
is not given twice, and lineage keeps telling what once was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from artline.storage.schema import metadata

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
    from sqlalchemy.dialects.sqlite import Insert as SQLiteInsert

__all__ = [
    "artifact",
    "artifact_alias",
    "artifact_contribution",
    "artifact_draft",
    "artifact_edge",
    "artifact_event",
    "artifact_link",
    "artifact_outbox",
    "artifact_protection",
    "artifact_rule",
    "artifact_tag",
    "artifact_version",
    "project",
    "upsert",
]

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")

project = sa.Table(
    "project",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("entity", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.UniqueConstraint("entity", "name"),
)

artifact = sa.Table(
    "artifact",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("project_id", _ID, sa.ForeignKey("project.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("next_version", sa.BigInteger, nullable=False),
    sa.Column("changes", sa.BigInteger, nullable=False, server_default="0"),
    sa.UniqueConstraint("project_id", "name"),
)

artifact_version = sa.Table(
    "artifact_version",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("artifact_id", _ID, sa.ForeignKey("artifact.id"), nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),  # of the manifest's logical entries
    sa.Column("root", sa.LargeBinary, nullable=False),  # of the chunk that holds the manifest's root
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("file_count", sa.BigInteger, nullable=False),
    sa.Column("metadata", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.Column("deleted_at", sa.Double),
    sa.Column("ttl", sa.Double),  # seconds; 0: it never goes by itself, NULL: as the artifact's rule says
    sa.UniqueConstraint("artifact_id", "number"),
    sa.Index(None, "artifact_id", "digest"),
)

artifact_alias = sa.Table(
    "artifact_alias",
    metadata,
    sa.Column(
        "artifact_id",
        _ID,
        sa.ForeignKey("artifact.id"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column(
        "version_id",
        _ID,
        sa.ForeignKey("artifact_version.id"),
        nullable=False,
    ),
    sa.Column("moved_at", sa.Double, nullable=False),
    sa.Index(None, "version_id"),
)

artifact_tag = sa.Table(
    "artifact_tag",
    metadata,
    sa.Column(
        "version_id",
        _ID,
        sa.ForeignKey("artifact_version.id"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("name", sa.Text, primary_key=True),
)

artifact_event = sa.Table(
    "artifact_event",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column(
        "version_id",
        _ID,
        sa.ForeignKey("artifact_version.id"),
        nullable=False,
    ),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("run", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Index(None, "version_id"),
)

artifact_edge = sa.Table(
    "artifact_edge",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column(
        "version_id",
        _ID,
        sa.ForeignKey("artifact_version.id"),
        nullable=False,
    ),
    sa.Column("run", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),  # "input" or "output", seen from the run
    sa.Column("use_as", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.UniqueConstraint("version_id", "run", "role"),
    sa.Index(None, "run", "role"),
)


# A version of a collection that is another version, linked there.
artifact_link = sa.Table(
    "artifact_link",
    metadata,
    sa.Column(
        "version_id",
        _ID,
        sa.ForeignKey("artifact_version.id"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("source_id", _ID, sa.ForeignKey("artifact_version.id"), nullable=False),
    sa.Column("run", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Index(None, "source_id"),
)

artifact_protection = sa.Table(
    "artifact_protection",
    metadata,
    sa.Column(
        "artifact_id",
        _ID,
        sa.ForeignKey("artifact.id"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
)


# A draft that runs contribute to, found by its name and an id that they share. It is open while it has
# contributions; the row stays behind to tell what became of it, and serves the next one of that id.
artifact_draft = sa.Table(
    "artifact_draft",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("project_id", _ID, sa.ForeignKey("project.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("distributed_id", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),  # of its first contribution
    sa.Column("touched_at", sa.Double, nullable=False),  # of its latest
    sa.Column("generation", sa.BigInteger, nullable=False),  # how often it was finished or given up
    sa.Column("revision", sa.BigInteger, nullable=False),  # grows with every change of its contributions
    sa.Column("version_id", _ID, sa.ForeignKey("artifact_version.id")),  # what it became the last time
    sa.UniqueConstraint("project_id", "name", "distributed_id"),
)

# What a run contributed, all of it under one manifest; the collector counts that as needed.
artifact_contribution = sa.Table(
    "artifact_contribution",
    metadata,
    sa.Column("draft_id", _ID, sa.ForeignKey("artifact_draft.id"), primary_key=True, autoincrement=False),
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("root", sa.LargeBinary, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("file_count", sa.BigInteger, nullable=False),
    sa.Column("metadata", sa.Text),
    sa.Column("description", sa.Text),
    sa.Column("incremental", sa.Boolean, nullable=False),
    sa.Column("aliases", sa.Text, nullable=False),
    sa.Column("tags", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
)


# Which versions of an artifact go by themselves; without a row, none.
artifact_rule = sa.Table(
    "artifact_rule",
    metadata,
    sa.Column(
        "artifact_id",
        _ID,
        sa.ForeignKey("artifact.id"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("ttl", sa.Double),  # seconds
    sa.Column("keep_last", sa.BigInteger),
    sa.Column("keep_aliased", sa.Boolean, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
)


# Rows that changed since they were last written into the bucket's records (artline.artifacts.records).
artifact_outbox = sa.Table(
    "artifact_outbox",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.Text, nullable=False),  # "artifact", "version", "edge" or "event"
    sa.Column("row_id", sa.BigInteger, nullable=False),
)


def upsert(conn: sa.Connection, table: sa.Table) -> SQLiteInsert | PostgresInsert:
    """Return the connection's own INSERT, which has ``on_conflict_do_update`` and ``…_do_nothing``."""
    if conn.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)
