"""Print what all migrations together make of an empty SQLite catalog: what ``latest.sql`` has to hold.

``python -m artline.storage.migrations.snapshot > artline/storage/migrations/latest.sql``
"""

from __future__ import annotations

import sqlalchemy as sa

from artline.storage.migrations import upgrade

__all__ = ["snapshot"]

_HEAD = "-- Made by python -m artline.storage.migrations.snapshot; do not edit."


def snapshot() -> str:
    """Run every migration on an empty catalog in memory; return the statements that make the same."""
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        with connection.begin():
            upgrade(connection, step_by_step=True)
        lines = list(connection.connection.driver_connection.iterdump())  # type: ignore[union-attr]  # is there
    engine.dispose()
    text = "\n".join(line for line in lines if line not in ("BEGIN TRANSACTION;", "COMMIT;"))
    plain = [line.rstrip().replace("\t", "    ") for line in text.split("\n")]
    return "\n".join([_HEAD, *plain, ""])


if __name__ == "__main__":
    print(snapshot(), end="")  # noqa: T201  (its output is the file)
