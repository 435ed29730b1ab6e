"""Runs of the catalog as records: one, or many in pages that go on from a key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import sqlalchemy as sa

from artline.artifacts.schema import project as project_table
from artline.errors import RunNotFoundError, UsageError
from artline.runs.attributes import lookup_text
from artline.runs.filters import COLUMNS, Scope, attribute_key, compile_filters
from artline.runs.schema import run, run_attr, run_tag

__all__ = ["Cursor", "Page", "RunRecord", "count_runs", "find_runs", "get_run"]


# A condition that holds for so many runs is checked run by run, in the order of the listing.
_MANY = 5000


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as the catalog has it. Times in seconds since the epoch, ``runtime`` in seconds.

    ``config`` and ``summary`` map dotted keys to JSON values. ``key`` is the run's number in this catalog.
    """

    key: int
    entity: str
    project: str
    run_id: str
    attempt: int
    name: str
    state: str
    notes: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    created_at: float
    started_at: float
    ended_at: float | None
    heartbeat_at: float
    runtime: float
    exit_code: int | None
    last_step: int | None
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    definitions: Sequence[Mapping[str, Any]]
    info: Mapping[str, Any]
    deleted_at: float | None

    @property
    def path(self) -> str:
        """``entity/project/run_id``, the run's key in lineage."""
        return f"{self.entity}/{self.project}/{self.run_id}"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a listing goes on: the sort value and key of the last run, and which part of the order."""

    phase: int
    value: Any
    key: int


@dataclass(frozen=True, slots=True)
class Page:
    """Some runs, and the cursor of those that follow (None at the end)."""

    runs: list[RunRecord]
    after: Cursor | None


@dataclass(frozen=True, slots=True)
class _Phase:
    """One part of an order: what it sorts by, and which runs belong to it."""

    value: sa.ColumnElement[Any]
    where: tuple[sa.ColumnElement[bool], ...]
    join: bool
    descending: bool


def get_run(
    conn: sa.Connection, entity: str, project: str, run_id: str, *, deleted: bool = False
) -> RunRecord:
    """Return one run. Raises RunNotFoundError, naming runs with similar ids or names."""
    row = conn.execute(
        _select().where(
            project_table.c.entity == entity, project_table.c.name == project, run.c.run_id == run_id
        )
    ).first()
    if row is None or (row.deleted_at is not None and not deleted):
        raise RunNotFoundError(_not_found(conn, entity, project, run_id, gone=row is not None))
    return _records(conn, [row])[0]


def find_runs(
    conn: sa.Connection,
    projects: Sequence[int],
    filters: Mapping[str, Any] | None = None,
    *,
    order: str = "-created_at",
    limit: int = 50,
    after: Cursor | None = None,
    deleted: bool = False,
) -> Page:
    """Return up to ``limit`` runs of the projects that match, in order, from ``after`` on.

    ``order`` is a field with ``+`` (ascending, default) or ``-``; runs without a value come last.
    Raises UsageError for an unknown field, operator or order.
    """
    clause = sa.and_(
        run.c.project_id.in_(projects),
        compile_filters(filters, Scope(projects, _wide(conn))),
        run.c.deleted_at.is_not(None) if deleted else run.c.deleted_at.is_(None),
    )
    phases = _phases(order, projects)
    rows: list[sa.Row[Any]] = []
    at = after.phase if after else 0
    while at < len(phases) and len(rows) < limit:
        phase = phases[at]
        more = conn.execute(
            _phase_query(phase, clause, after if after and after.phase == at else None, limit - len(rows))
        ).all()
        rows += more
        if len(rows) == limit:
            last = Cursor(at, more[-1].sort_value, more[-1].id)
            return Page(_records(conn, rows), last)
        at += 1
    return Page(_records(conn, rows), None)


def count_runs(conn: sa.Connection, projects: Sequence[int], filters: Mapping[str, Any] | None = None) -> int:
    """Return how many runs of the projects match."""
    query = (
        sa.select(sa.func.count())
        .select_from(run)
        .where(
            run.c.project_id.in_(projects),
            run.c.deleted_at.is_(None),
            compile_filters(filters, Scope(projects)),
        )
    )
    return int(conn.execute(query).scalar_one())


def _wide(conn: sa.Connection) -> Callable[[sa.Select[Any]], bool]:
    """Return what tells whether a condition holds for many runs. PostgreSQL knows by itself."""

    def is_wide(found: sa.Select[Any]) -> bool:
        if conn.dialect.name != "sqlite":
            return False
        some = found.limit(_MANY).subquery()
        return conn.execute(sa.select(sa.func.count()).select_from(some)).scalar_one() == _MANY

    return is_wide


def _select() -> sa.Select[Any]:
    return sa.select(run, project_table.c.entity, project_table.c.name.label("project")).join(
        project_table, project_table.c.id == run.c.project_id
    )


def _phases(order: str, projects: Sequence[int]) -> list[_Phase]:
    descending = order.startswith("-")
    field = order.lstrip("+-")
    key = attribute_key(field)
    if key is None:
        column = COLUMNS.get(field)
        if column is None:
            raise UsageError(
                f"cannot order runs by '{field}'. Known: {', '.join(sorted(COLUMNS))}, config.<key>, "
                "summary.<key>, with + or - before it"
            )
        if not column.nullable:
            return [_Phase(column, (), False, descending)]
        return [
            _Phase(column, (column.is_not(None),), False, descending),
            _Phase(run.c.created_at, (column.is_(None),), False, True),
        ]
    table = run_attr.c
    mine = (table.project_id.in_(projects), table.key == lookup_text(key))
    other = run_attr.alias().c
    has_value = sa.exists().where(
        other.run_id == run.c.id,
        other.key == lookup_text(key),
        sa.or_(other.number.is_not(None), other.text.is_not(None)),
    )
    return [
        _Phase(table.number, (*mine, table.number.is_not(None)), True, descending),
        _Phase(table.text, (*mine, table.number.is_(None), table.text.is_not(None)), True, descending),
        _Phase(run.c.created_at, (sa.not_(has_value),), False, True),
    ]


def _phase_query(
    phase: _Phase, clause: sa.ColumnElement[bool], after: Cursor | None, limit: int
) -> sa.Select[Any]:
    value, key = phase.value, run_attr.c.run_id if phase.join else run.c.id
    query = _select().add_columns(value.label("sort_value")).where(clause, *phase.where)
    if phase.join:
        query = query.join(run_attr, run_attr.c.run_id == run.c.id)
    if after is not None:
        if phase.descending:
            query = query.where(value <= after.value, sa.or_(value < after.value, key < after.key))
        else:
            query = query.where(value >= after.value, sa.or_(value > after.value, key > after.key))
    if phase.descending:
        return query.order_by(value.desc(), key.desc()).limit(limit)
    return query.order_by(value, key).limit(limit)


def _records(conn: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[RunRecord]:
    tags: dict[int, list[str]] = {}
    for at in range(0, len(rows), 500):
        keys = [row.id for row in rows[at : at + 500]]
        for key, tag in conn.execute(
            sa.select(run_tag.c.run_id, run_tag.c.tag)
            .where(run_tag.c.run_id.in_(keys))
            .order_by(run_tag.c.run_id, run_tag.c.tag)
        ):
            tags.setdefault(key, []).append(tag)
    return [
        RunRecord(
            key=row.id,
            entity=row.entity,
            project=row.project,
            run_id=row.run_id,
            attempt=row.attempt,
            name=row.name,
            state=row.state,
            notes=row.notes,
            group=row.group_name,
            job_type=row.job_type,
            tags=tuple(tags.get(row.id, ())),
            created_at=row.created_at,
            started_at=row.started_at,
            ended_at=row.ended_at,
            heartbeat_at=row.heartbeat_at,
            runtime=row.runtime,
            exit_code=row.exit_code,
            last_step=row.last_step,
            config=json.loads(row.config),
            summary=json.loads(row.summary),
            definitions=json.loads(row.definitions),
            info=json.loads(row.info),
            deleted_at=row.deleted_at,
        )
        for row in rows
    ]


def _not_found(conn: sa.Connection, entity: str, project: str, run_id: str, *, gone: bool) -> str:
    place = f"project '{project}'" if entity == "local" else f"project '{entity}/{project}'"
    if gone:
        return f"run '{run_id}' in {place} was deleted. Bring it back: art runs undelete {run_id}"
    rows = conn.execute(
        sa.select(run.c.run_id, run.c.name)
        .join(project_table, project_table.c.id == run.c.project_id)
        .where(project_table.c.entity == entity, project_table.c.name == project, run.c.deleted_at.is_(None))
        .order_by(run.c.created_at.desc())
        .limit(1000)
    ).all()
    if not rows:
        known = conn.execute(
            sa.select(project_table.c.name).where(project_table.c.entity == entity)
        ).scalars()
        close = get_close_matches(project, list(known), n=3)
        hint = f" Did you mean project {' or '.join(repr(name) for name in close)}?" if close else ""
        return f"run '{run_id}' does not exist: there are no runs in {place}.{hint} List runs: art runs ls"
    ids = {name: row.run_id for row in rows for name in (row.run_id, row.name)}
    close = get_close_matches(run_id, list(ids), n=3)
    hint = f" Close matches: {', '.join(dict.fromkeys(ids[name] for name in close))}." if close else ""
    return f"run '{run_id}' does not exist in {place}.{hint} List runs: art runs ls -p {project}"
