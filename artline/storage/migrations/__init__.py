"""Schema migrations: a linear chain of alembic revisions, one file each in ``versions/``.

A file is called ``v<revision>.py`` and its revision ``<number>_<noun>``, so that the newest revision is
known from a folder listing, without importing alembic (0.3 s). ``latest.sql`` is what they make of an empty
SQLite catalog, so that a new one needs none of them (0.2 s); ``snapshot`` makes it, and a test compares.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["STORE", "Chain", "latest_revision", "revisions", "upgrade"]


@dataclass(frozen=True, slots=True)
class Chain:
    """The revisions of one kind of database, in a folder with ``env.py`` and ``versions/``."""

    folder: str

    @property
    def revisions(self) -> tuple[str, ...]:
        """Every revision this Artline knows, oldest first."""
        return _revisions(self.folder)

    @property
    def latest(self) -> str:
        """The revision this Artline reads and writes."""
        return self.revisions[-1]

    def upgrade(self, connection: Connection, *, step_by_step: bool = False) -> None:
        """Bring the schema to the latest revision inside the connection's transaction.

        An empty SQLite catalog gets it at once where there is a snapshot, unless it is to go
        ``step_by_step``.
        """
        if connection.dialect.name == "sqlite" and not step_by_step and self._create(connection):
            return
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", self.folder.replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    def _create(self, connection: Connection) -> bool:
        """Make the latest schema in an empty catalog; tell whether it was empty."""
        snapshot = os.path.join(self.folder, "latest.sql")
        if not os.path.exists(snapshot):
            return False
        if connection.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1").first():
            return False
        with open(snapshot, encoding="utf-8") as file:
            statement = ""
            for line in file:
                statement += line
                if sqlite3.complete_statement(statement):
                    connection.exec_driver_sql(statement)
                    statement = ""
        return True


@cache
def _revisions(folder: str) -> tuple[str, ...]:
    names = os.listdir(os.path.join(folder, "versions"))
    return tuple(sorted(name[1:-3] for name in names if name.startswith("v0") and name.endswith(".py")))


STORE = Chain(os.path.dirname(os.path.abspath(__file__)))


def revisions() -> tuple[str, ...]:
    """Return every revision of a store's catalog that this Artline knows, oldest first."""
    return STORE.revisions


def latest_revision() -> str:
    """Return the revision of a store's catalog that this Artline reads and writes."""
    return STORE.latest


def upgrade(connection: Connection, *, step_by_step: bool = False) -> None:
    """Bring a store's catalog to the latest revision; see ``Chain.upgrade``."""
    STORE.upgrade(connection, step_by_step=step_by_step)
