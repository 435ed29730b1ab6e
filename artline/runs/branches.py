"""Which history a run shows: its own, less what it was rewound over, and before a fork its parent's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from artline.artifacts.schema import project as project_table
from artline.runs.records import HISTORY, Rows
from artline.runs.schema import run, run_rewind, run_writer

__all__ = ["Branches", "clip_rows", "find_branches", "find_rewinds"]

_HIGHEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Part:
    """A run whose rows are shown: up to a step, of attempts up to one, less what rewinds cut off."""

    last_step: int
    last_attempt: int
    rewinds: Sequence[tuple[int, int]]


class Branches:
    """The runs whose rows make up one run's history, itself first, and how far each of them counts."""

    def __init__(self, parts: dict[int, _Part]) -> None:
        self._parts = parts
        self.runs = list(parts)

    def highest(self, run: int, attempt: int) -> int | None:
        """Return the step up to which the rows of an attempt of a run count; None: none of them do."""
        part = self._parts[run]
        if attempt > part.last_attempt:
            return None
        return min([part.last_step, *(step for later, step in part.rewinds if later > attempt)])


def find_branches(conn: sa.Connection, key: int, stream: str) -> Branches:
    """Return whose rows make up a stream of a run. Of ``system`` that is the run's own alone."""
    if stream != HISTORY:
        return Branches({key: _Part(_HIGHEST, _HIGHEST, ())})
    parts: dict[int, _Part] = {}
    at: int | None = key
    last_step, last_attempt = _HIGHEST, _HIGHEST
    while at is not None and at not in parts:
        cuts = [(attempt, step) for attempt, step in find_rewinds(conn, at) if attempt <= last_attempt]
        parts[at] = _Part(last_step, last_attempt, cuts)
        info: str = conn.execute(sa.select(run.c.info).where(run.c.id == at)).scalar_one()
        at = None
        if '"forked_from"' in info and (origin := json.loads(info).get("forked_from")):
            last_step, last_attempt = min(last_step, origin["step"]), origin["attempt"]
            at = _key_of(conn, origin["run"])
    return Branches(parts)


def find_rewinds(conn: sa.Connection, key: int) -> list[tuple[int, int]]:
    """Return ``(attempt, step)`` of each rewind: history of lower attempts ends with that step."""
    rows = conn.execute(
        sa.select(run_writer.c.attempt, run_rewind.c.step)
        .join(run_writer, run_writer.c.id == run_rewind.c.run_writer_id)
        .where(run_rewind.c.run_id == key)
    )
    return [(attempt, step) for attempt, step in rows]


def clip_rows(rows: Rows, highest: int) -> Rows | None:
    """Return the rows up to a step, None where there are none."""
    if max(rows.steps) <= highest:
        return rows
    kept = [at for at, step in enumerate(rows.steps) if step <= highest]
    if not kept:
        return None
    return replace(
        rows,
        steps=[rows.steps[at] for at in kept],
        times=[rows.times[at] for at in kept],
        columns=[[column[at] for at in kept] for column in rows.columns],
        orders=[rows.orders[at] for at in kept],
    )


def _key_of(conn: sa.Connection, path: str) -> int | None:
    entity, project, run_id = path.split("/")
    query = (
        sa.select(run.c.id)
        .join(project_table, project_table.c.id == run.c.project_id)
        .where(project_table.c.entity == entity, project_table.c.name == project, run.c.run_id == run_id)
    )
    found: int | None = conn.execute(query).scalar()
    return found
