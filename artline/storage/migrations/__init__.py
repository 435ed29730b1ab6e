"""Schema migrations: a linear chain of alembic revisions, one file each in ``versions/``.

A file is called ``v<revision>.py`` and its revision ``<number>_<noun>``, so that the newest revision is
known from a folder listing, without importing alembic (0.3 s). ``latest.sql`` is what they make of an empty
SQLite catalog, so that a new one needs none of them (0.2 s); ``snapshot`` makes it, and a test compares.
"""

from __future__ import annotations

import os
import sqlite3
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["latest_revision", "revisions", "upgrade"]

_HERE = os.path.dirname(os.path.abspath(__file__))


@cache
def revisions() -> tuple[str, ...]:
    """Return every revision this Artline knows, oldest first."""
    names = os.listdir(os.path.join(_HERE, "versions"))
    return tuple(sorted(name[1:-3] for name in names if name.startswith("v0") and name.endswith(".py")))


def latest_revision() -> str:
    """Return the revision this Artline reads and writes."""
    return revisions()[-1]


def upgrade(connection: Connection, *, step_by_step: bool = False) -> None:
    """Bring the schema to the latest revision inside the connection's transaction.

    An empty SQLite catalog gets it at once, unless it is to go ``step_by_step``.
    """
    if connection.dialect.name == "sqlite" and not step_by_step and _create(connection):
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", _HERE.replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _create(connection: Connection) -> bool:
    """Make the latest schema in an empty catalog; tell whether it was empty."""
    if connection.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1").first():
        return False
    with open(os.path.join(_HERE, "latest.sql"), encoding="utf-8") as file:
        statement = ""
        for line in file:
            statement += line
            if sqlite3.complete_statement(statement):
                connection.exec_driver_sql(statement)
                statement = ""
    return True
