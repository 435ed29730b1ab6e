"""The processes that wrote a run, one after the other or together, each with its label."""

from __future__ import annotations

import json
from dataclasses import dataclass

import sqlalchemy as sa

from artline.runs.schema import run_writer

__all__ = ["RunWriter", "list_writers"]


@dataclass(frozen=True, slots=True)
class RunWriter:
    """One process that wrote a run. Times in seconds since the epoch, ``runtime`` in seconds.

    ``label`` is empty where it was given none; ``key`` is the writer's number in this catalog.
    """

    key: int
    writer: str
    label: str
    attempt: int
    state: str
    host: str
    pid: int
    started_at: float
    ended_at: float | None
    heartbeat_at: float
    runtime: float
    exit_code: int | None


def list_writers(conn: sa.Connection, run: int) -> list[RunWriter]:
    """Return the writers of a run in the order in which they began."""
    table = run_writer.c
    rows = conn.execute(
        sa.select(run_writer)
        .where(table.run_id == run)
        .order_by(table.attempt, table.started_at, table.writer)
    )
    found = []
    for row in rows:
        process = json.loads(row.process)
        found.append(
            RunWriter(
                key=row.id,
                writer=row.writer,
                label=process.get("label", ""),
                attempt=row.attempt,
                state=row.state,
                host=process.get("host", ""),
                pid=process.get("pid", 0),
                started_at=row.started_at,
                ended_at=row.ended_at,
                heartbeat_at=row.heartbeat_at,
                runtime=row.runtime,
                exit_code=row.exit_code,
            )
        )
    return found
