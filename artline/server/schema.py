"""Tables of a server's directory: who may come in, what they may do, and what was done.

Times are seconds since 1970. Secrets are never kept: of an API key only the SHA-256 of its random part.
"""

from __future__ import annotations

import sqlalchemy as sa

__all__ = [
    "account",
    "api_key",
    "audit_event",
    "grant",
    "idempotent_answer",
    "membership",
    "metadata",
    "project_setting",
    "team",
]

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    }
)
_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")

# Somebody, or a program, that may come in.
account = sa.Table(
    "account",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),  # "person" or "service"
    sa.Column("admin", sa.Boolean, nullable=False),  # of the whole server
    sa.Column("default_team", sa.Text, nullable=False),  # "" for none
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("disabled_at", sa.Double),
)

api_key = sa.Table(
    "api_key",
    metadata,
    sa.Column("id", sa.String(12), primary_key=True),  # the part of the key that is no secret
    sa.Column("account_id", _ID, sa.ForeignKey("account.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double),
    sa.Column("revoked_at", sa.Double),
    sa.Column("used_at", sa.Double),  # to the minute
    sa.Index(None, "account_id"),
)

# A team has a store of its own: nothing in it is shared with another team's, chunks included.
team = sa.Table(
    "team",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("created_at", sa.Double, nullable=False),
)

membership = sa.Table(
    "membership",
    metadata,
    sa.Column("team_id", _ID, sa.ForeignKey("team.id"), primary_key=True, autoincrement=False),
    sa.Column("account_id", _ID, sa.ForeignKey("account.id"), primary_key=True, autoincrement=False),
    sa.Column("role", sa.Text, nullable=False),  # "read", "write" or "admin"
    sa.Index(None, "account_id"),
)

# What somebody may do in one project, beside what the membership allows.
grant = sa.Table(
    "project_grant",
    metadata,
    sa.Column("team_id", _ID, sa.ForeignKey("team.id"), primary_key=True, autoincrement=False),
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("account_id", _ID, sa.ForeignKey("account.id"), primary_key=True, autoincrement=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Index(None, "account_id"),
)

project_setting = sa.Table(
    "project_setting",
    metadata,
    sa.Column("team_id", _ID, sa.ForeignKey("team.id"), primary_key=True, autoincrement=False),
    sa.Column("project", sa.Text, primary_key=True),
    # "team": members by their role; "private": only by grant, and the team's admins
    sa.Column("visibility", sa.Text, nullable=False),
)

audit_event = sa.Table(
    "audit_event",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),  # JSON
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Index(None, "at"),
)

# What was answered to a request that changed something, for when it is repeated.
idempotent_answer = sa.Table(
    "idempotent_answer",
    metadata,
    sa.Column("account_id", _ID, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("request", sa.LargeBinary, nullable=False),  # a digest of method, path and body
    sa.Column("status", sa.Integer, nullable=False),  # 0 while it is being answered
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Index(None, "at"),
)
