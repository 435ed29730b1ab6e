"""The alerts of a run, as the catalog has them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from artline.runs import records
from artline.runs.attributes import clean_text
from artline.runs.schema import run_alert, run_writer

__all__ = ["RunAlert", "add_alerts", "list_alerts"]


@dataclass(frozen=True, slots=True)
class RunAlert:
    """An alert: when (seconds since the epoch), how bad (INFO, WARN, ERROR), what, and by whom.

    ``label`` is that of the process that sent it, empty where it has none.
    """

    at: float
    level: str
    title: str
    text: str
    label: str


def add_alerts(conn: sa.Connection, run: int, writer: int, alerts: Sequence[records.Alert]) -> None:
    """Add alerts that a writer of a run sent."""
    conn.execute(
        sa.insert(run_alert),
        [
            {
                "run_id": run,
                "run_writer_id": writer,
                "at": alert.time,
                "level": clean_text(alert.level),
                "title": clean_text(alert.title),
                "text": clean_text(alert.text),
            }
            for alert in alerts
        ],
    )


def list_alerts(conn: sa.Connection, run: int) -> list[RunAlert]:
    """Return the alerts of a run, oldest first."""
    table = run_alert.c
    rows = conn.execute(
        sa.select(table.at, table.level, table.title, table.text, run_writer.c.process)
        .join(run_writer, run_writer.c.id == table.run_writer_id)
        .where(table.run_id == run)
        .order_by(table.at, table.id)
    )
    return [
        RunAlert(at, level, title, text, json.loads(process).get("label", ""))
        for at, level, title, text, process in rows
    ]
