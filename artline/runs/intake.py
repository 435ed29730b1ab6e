"""One batch of journal frames into the catalog, exactly once.

Everything a batch changes and the offset that says so are written in the caller's transaction. Two
processes that read the same journal meet at the run's row: the second finds the offset moved on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from artline.artifacts.projects import ensure_project
from artline.runs import records
from artline.runs.alerts import add_alerts
from artline.runs.attributes import clean_text, write_attributes
from artline.runs.branches import clip_rows, find_rewinds
from artline.runs.chunks import RowBuffer, append_rows
from artline.runs.definitions import Definition, SummaryBuilder
from artline.runs.files import await_folder
from artline.runs.journals import Batch
from artline.runs.output import OutputPiece, append_output
from artline.runs.schema import run, run_file, run_rewind, run_tag, run_writer, upsert

__all__ = ["OPEN", "mark_writer", "set_tags", "settle_run", "take_in"]

OPEN = "running"
# Descriptive fields that have a column of their own, by their name in the journal.
_COLUMNS = {"name": "name", "notes": "notes", "group": "group_name", "job_type": "job_type"}


def take_in(conn: sa.Connection, batch: Batch) -> tuple[int, int | None] | None:
    """Take a batch in and return None; or, when the catalog is elsewhere, the offset and seq it is at."""
    start = batch.start
    project = ensure_project(conn, start.entity, start.project)
    row = _lock_run(conn, project, start)
    writer = conn.execute(
        sa.select(run_writer).where(run_writer.c.run_id == row.id, run_writer.c.writer == start.writer)
    ).first()
    if writer is None:
        writer = _add_writer(conn, row.id, start)
    if writer.offset != batch.offset:
        return writer.offset, writer.seq
    _Intake(conn, project, row, writer, batch).apply()
    settle_run(conn, row.id)
    return None


def mark_writer(conn: sa.Connection, writer: int, offset: int | None, **values: Any) -> bool:
    """Set columns of a writer, unless its journal went on past ``offset``; return whether it was done."""
    table = run_writer.c
    owner = conn.execute(sa.select(table.run_id).where(table.id == writer)).scalar_one()
    conn.execute(sa.select(run.c.id).where(run.c.id == owner).with_for_update())
    where = [table.id == writer]
    if offset is not None:
        where.append(table.offset == offset)
    changed = conn.execute(sa.update(run_writer).where(*where).values(**values)).rowcount
    if changed:
        settle_run(conn, owner)
    return bool(changed)


def settle_run(conn: sa.Connection, run_key: int) -> None:
    """Derive a run's state and times from its writers: it runs while any of them does."""
    table = run_writer.c
    writers = conn.execute(
        sa.select(
            table.state,
            table.attempt,
            table.started_at,
            table.ended_at,
            table.heartbeat_at,
            table.runtime,
            table.exit_code,
            table.process,
        ).where(table.run_id == run_key)
    ).all()
    open_ones = [writer for writer in writers if writer.state == OPEN]
    latest = max(open_ones or _deciding(writers), key=lambda w: (w.attempt, w.ended_at or w.heartbeat_at))
    conn.execute(
        sa.update(run)
        .where(run.c.id == run_key)
        .values(
            state=latest.state,
            attempt=max(writer.attempt for writer in writers),
            started_at=latest.started_at,
            ended_at=None if open_ones else latest.ended_at,
            heartbeat_at=max(writer.heartbeat_at for writer in writers),
            runtime=latest.runtime,
            exit_code=None if open_ones else latest.exit_code,
        )
    )


def _deciding(writers: Sequence[Any]) -> Sequence[Any]:
    """Return the writers whose ends make the run's; all of them where none is set apart."""
    if len(writers) < 2:
        return writers
    found = [writer for writer in writers if json.loads(writer.process).get("decides", True)]
    return found or writers


def set_tags(conn: sa.Connection, run_key: int, tags: Any) -> None:
    """Replace the tags of a run."""
    conn.execute(sa.delete(run_tag).where(run_tag.c.run_id == run_key))
    names = dict.fromkeys(clean_text(str(tag)) for tag in tags)
    if names:
        conn.execute(sa.insert(run_tag), [{"run_id": run_key, "tag": name} for name in names])


def _lock_run(conn: sa.Connection, project: int, start: records.Start) -> sa.Row[Any]:
    query = sa.select(run).where(run.c.project_id == project, run.c.run_id == start.run_id).with_for_update()
    found = conn.execute(query).first()
    if found is None:
        conn.execute(
            upsert(conn, run)
            .values(
                project_id=project,
                run_id=start.run_id,
                attempt=start.attempt,
                name=start.run_id,
                state=OPEN,
                notes="",
                group_name="",
                job_type="",
                created_at=start.time,
                started_at=start.time,
                heartbeat_at=start.time,
                runtime=0.0,
                config="{}",
                summary="{}",
                summary_state="",
                definitions="[]",
                info="{}",
                console_bytes=0,
            )
            .on_conflict_do_nothing()
        )
        found = conn.execute(query).one()
    return found


def _add_writer(conn: sa.Connection, run_key: int, start: records.Start) -> sa.Row[Any]:
    await_folder(conn, run_key)
    return conn.execute(
        sa.insert(run_writer)
        .values(
            run_id=run_key,
            writer=start.writer,
            attempt=start.attempt,
            offset=0,
            seq=0,
            state=OPEN,
            started_at=start.time,
            heartbeat_at=start.time,
            runtime=0.0,
            process=json.dumps(asdict(start.process)),
            damage="",
        )
        .returning(run_writer)
    ).one()


class _Intake:
    """The run as it is before a batch, and what the batch makes of it."""

    def __init__(
        self, conn: sa.Connection, project: int, row: sa.Row[Any], writer: sa.Row[Any], batch: Batch
    ) -> None:
        self.conn, self.project, self.row, self.writer, self.batch = conn, project, row, writer, batch
        self.changes: dict[str, Any] = {}
        self.info: dict[str, Any] = json.loads(row.info)
        self.config: dict[str, Any] = json.loads(row.config)
        self.configured = False
        self.summary: SummaryBuilder | None = None
        self.rows: list[records.Rows] = []
        self.output: list[OutputPiece] = []
        self.files: dict[str, str] = {}
        self.heartbeat: float = writer.heartbeat_at
        self.writer_state: dict[str, Any] = {}
        if writer.state == "crashed":  # given up for lost, and writes again: it runs
            self.writer_state = {"state": OPEN, "ended_at": None, "exit_code": None}
        self.finished = False
        self.alerts: list[records.Alert] = []
        self.last_step: int | None = row.last_step
        self.rewinds: list[tuple[int, int]] | None = None
        self.shown: list[records.Rows] = []  # of the rows those that no later attempt was rewound over

    def apply(self) -> None:
        for record in self.batch.records:
            self._take(record)
        self._write_rows()
        self._write_summary()
        self._write_config()
        self._write_output()
        if self.alerts:
            add_alerts(self.conn, self.row.id, self.writer.id, self.alerts)
        self._write_files()
        info = json.dumps(self.info)
        if info != self.row.info:
            self.changes["info"] = info
        if self.changes:
            self.conn.execute(sa.update(run).where(run.c.id == self.row.id).values(**self.changes))
        if self.writer.state in (OPEN, "crashed"):
            self.writer_state.setdefault("runtime", max(0.0, self.heartbeat - self.writer.started_at))
        self.conn.execute(
            sa.update(run_writer)
            .where(run_writer.c.id == self.writer.id)
            .values(
                offset=self.batch.end,
                seq=self.batch.seq,
                damage="",
                heartbeat_at=self.heartbeat,
                **self.writer_state,
            )
        )

    def _take(self, record: records.Record) -> None:
        if isinstance(record, records.Rows):
            self.rows.append(record)
            shown = self._shown(record)
            if shown is not None:
                self.shown.append(shown)
                self._builder().add(shown, self.batch.start.attempt)
            self._alive_at(record.times[-1])
        elif isinstance(record, records.Console):
            self.output.append(OutputPiece(record.stream, record.time, record.data, self.writer.id))
            self._alive_at(record.time)
        elif isinstance(record, records.Heartbeat):
            self._alive_at(record.time)
        elif isinstance(record, records.Config):
            for name in record.removed:
                self.config.pop(name, None)
            self.config.update(record.values)
            self.configured = True
        elif isinstance(record, records.Summary):
            self._builder().assign(record.values, record.removed)
        elif isinstance(record, records.Define):
            self._builder().define(Definition.from_json(record.definition))
        elif isinstance(record, records.Start):
            self._describe(record.info)
            self._alive_at(record.time)
        elif isinstance(record, records.Update):
            self._describe(record.values)
        elif isinstance(record, records.File):
            self.files[clean_text(record.path)] = record.policy
        elif isinstance(record, records.Rewind):
            self._rewind(record.step)
        elif isinstance(record, records.Branch):
            self._branch(record)
        elif isinstance(record, records.Alert):
            self.alerts.append(record)
            self._alive_at(record.time)
        elif isinstance(record, records.Finish):
            self._alive_at(record.time)
            self.finished = True
            self.writer_state = {
                "state": record.state,
                "ended_at": record.time,
                "exit_code": record.exit_code,
                "runtime": record.runtime,
            }

    def _builder(self) -> SummaryBuilder:
        if self.summary is None:
            state = self.row.summary_state
            self.summary = SummaryBuilder.from_json(json.loads(state)) if state else SummaryBuilder()
        return self.summary

    def _alive_at(self, time: float) -> None:
        self.heartbeat = max(self.heartbeat, time)

    def _describe(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if name in _COLUMNS:
                if value is not None:
                    self.changes[_COLUMNS[name]] = clean_text(str(value))
            elif name == "tags":
                if value is not None:
                    set_tags(self.conn, self.row.id, value)
            else:
                self.info[name] = value

    def _rewind(self, step: int) -> None:
        values = {"run_writer_id": self.writer.id, "run_id": self.row.id, "step": step}
        statement = upsert(self.conn, run_rewind).values(values)
        self.conn.execute(
            statement.on_conflict_do_update(index_elements=["run_writer_id"], set_={"step": step})
        )
        if self.last_step is not None and self.last_step > step:
            self.changes["last_step"] = self.last_step = step

    def _branch(self, record: records.Branch) -> None:
        self.summary = SummaryBuilder.from_json(record.summary)
        self.changes["last_step"] = self.last_step = record.last_step
        if record.parent:
            self.info["forked_from"] = {
                "run": record.parent,
                "attempt": record.attempt,
                "step": record.step,
            }

    def _shown(self, rows: records.Rows) -> records.Rows | None:
        """Return the rows that count: a journal of an earlier attempt may come after it was rewound."""
        if rows.stream != records.HISTORY or self.row.attempt <= self.batch.start.attempt:
            return rows
        if self.rewinds is None:
            self.rewinds = find_rewinds(self.conn, self.row.id)
        cuts = [step for attempt, step in self.rewinds if attempt > self.batch.start.attempt]
        return clip_rows(rows, min(cuts)) if cuts else rows

    def _write_rows(self) -> None:
        if not self.rows:
            return
        append_rows(
            self.conn,
            self.row.id,
            self.writer.id,
            RowBuffer.gather(self.rows),
            compact=self.finished,
        )
        steps = [max(rows.steps) for rows in self.shown if rows.stream == records.HISTORY]
        if steps and (self.last_step is None or max(steps) > self.last_step):
            self.changes["last_step"] = max(steps)

    def _write_summary(self) -> None:
        if self.summary is None:
            return
        before, after = json.loads(self.row.summary), self.summary.values()
        self.changes["summary_state"] = json.dumps(self.summary.to_json())
        self.changes["summary"] = json.dumps(after)
        self.changes["definitions"] = json.dumps(self.summary.definitions.to_json())
        write_attributes(self.conn, self.project, self.row.id, before, after, "summary")

    def _write_config(self) -> None:
        before = json.loads(self.row.config)
        if self.configured:
            self.changes["config"] = json.dumps(self.config)
            write_attributes(self.conn, self.project, self.row.id, before, self.config, "config")

    def _write_output(self) -> None:
        if self.output:
            self.changes["console_bytes"] = append_output(
                self.conn, self.row.id, self.row.console_bytes, self.output
            )

    def _write_files(self) -> None:
        if self.files:
            statement = upsert(self.conn, run_file)
            self.conn.execute(
                statement.on_conflict_do_update(
                    index_elements=["run_id", "path"], set_={"policy": statement.excluded.policy}
                ),
                [
                    {"run_id": self.row.id, "path": path, "policy": policy}
                    for path, policy in self.files.items()
                ],
            )
