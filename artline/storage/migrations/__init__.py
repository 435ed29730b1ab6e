"""Schema migrations: a linear chain of alembic revisions, one file each in ``versions/``.

A file is called ``v<revision>.py`` and its revision ``<number>_<noun>``, so that the newest revision is
known from a folder listing, without importing alembic (0.3 s).
"""

from __future__ import annotations

import os
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


def upgrade(connection: Connection) -> None:
    """Bring the schema to the latest revision inside the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", _HERE.replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
