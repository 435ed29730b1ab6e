"""Runs that another store's catalog has taken in already, copied into this one.

A run is copied whole in one transaction, with the offsets of its writers: journals of it that still lie in
the other root go on from there. A run that this store knows is left alone, so copying twice copies once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from artline.artifacts.projects import ensure_project
from artline.artifacts.schema import project as project_table
from artline.errors import ArtlineError
from artline.runs.columns import encode_axis, encode_column
from artline.runs.output import rename_writers
from artline.runs.schema import (
    metric_chunk,
    metric_group,
    metric_key,
    run,
    run_alert,
    run_attr,
    run_console,
    run_file,
    run_rewind,
    run_tag,
    run_writer,
    upsert,
)
from artline.storage.recipe import Blob

if TYPE_CHECKING:
    from artline.runs.sealed import ChunkFiles
    from artline.runs.store import RunStore
    from artline.storage.catalog import Catalog

__all__ = ["Transfer", "copy_content", "copy_runs"]

_BATCH_BYTES = 8 << 20
_CONTENT = ("digest", "recipe", "size", "modified")


@dataclass(frozen=True, slots=True)
class Transfer:
    """Paths (``entity/project/run_id``) of the runs that were copied, and of those left alone.

    A run is left alone because another run of that id is here, with other writers.
    """

    copied: tuple[str, ...]
    clashing: tuple[str, ...]


def copy_runs(source: Catalog, target: Catalog, files: ChunkFiles) -> Transfer:
    """Copy every run of ``source`` that ``target`` does not have. Idempotent, safe to kill and repeat.

    ``files`` reads the sealed chunks of the source: they come into the catalog, and are sealed again there.
    """
    copied: list[str] = []
    clashing: list[str] = []
    with source.read() as conn:
        rows = conn.execute(
            sa.select(run, project_table.c.entity, project_table.c.name.label("project"))
            .join(project_table, project_table.c.id == run.c.project_id)
            .order_by(run.c.id)
        ).all()
    for row in rows:
        path = f"{row.entity}/{row.project}/{row.run_id}"
        with source.read() as reading, target.write() as writing:
            writers = {
                writer.writer: writer
                for writer in reading.execute(sa.select(run_writer).where(run_writer.c.run_id == row.id))
            }
            here = _find(writing, row)
            if here is None and _copy(reading, writing, row, writers, files):
                copied.append(path)
            elif here is not None and not writers.keys() <= _writers(writing, here):
                clashing.append(path)
    return Transfer(tuple(copied), tuple(clashing))


def copy_content(source: RunStore, target: RunStore) -> tuple[int, list[str]]:
    """Copy the content of files of runs that both know and only ``source`` has; return how many files.

    What cannot be read over there is named in the list, and left. Idempotent.
    """
    count, problems = 0, []
    with source.catalog.read() as conn:
        rows = conn.execute(
            sa.select(run, project_table.c.entity, project_table.c.name.label("project"))
            .join(project_table, project_table.c.id == run.c.project_id)
            .where(run.c.id.in_(sa.select(run_file.c.run_id).where(run_file.c.digest.is_not(None))))
        ).all()
    for row in rows:
        with target.catalog.read() as conn:
            here = _find(conn, row)
        if here is None:
            continue
        with source.catalog.read() as conn:
            there = {found["path"]: found for found in _rows(conn, run_file, run_file.c.run_id == row.id)}
        with target.catalog.read() as conn:
            present = {
                found["path"]
                for found in _rows(conn, run_file, run_file.c.run_id == here)
                if found["digest"] is not None
            }
        wanted = [f for path, f in there.items() if f["digest"] is not None and path not in present]
        if wanted:
            try:
                count += _copy_files(source, target, here, wanted)
            except ArtlineError as error:
                problems.append(f"files of run {row.entity}/{row.project}/{row.run_id} stay there: {error}")
    return count, problems


def _copy_files(source: RunStore, target: RunStore, key: int, wanted: list[dict[str, Any]]) -> int:
    with target.content.writer(owner=f"files of run {key}") as writer:
        rows = []
        for found in wanted:
            blob = Blob(bytes(found["digest"]), found["size"], found["recipe"] and bytes(found["recipe"]))
            with source.content.open_blob(blob) as stream:
                stored = writer.add_stream(stream)
            rows.append({**found, "run_id": key, "digest": stored.digest, "recipe": stored.recipe})
        writer.flush()
        with target.content.catalog.write() as conn:
            writer.lease.check(conn)
            statement = upsert(conn, run_file)
            news = {name: statement.excluded[name] for name in _CONTENT}
            conn.execute(statement.on_conflict_do_update(index_elements=["run_id", "path"], set_=news), rows)
            writer.lease.release(conn)
    return len(rows)


def _find(conn: sa.Connection, row: sa.Row[Any]) -> int | None:
    query = (
        sa.select(run.c.id)
        .join(project_table, project_table.c.id == run.c.project_id)
        .where(
            project_table.c.entity == row.entity,
            project_table.c.name == row.project,
            run.c.run_id == row.run_id,
        )
    )
    found: int | None = conn.execute(query).scalar()
    return found


def _writers(conn: sa.Connection, key: int) -> set[str]:
    return set(conn.execute(sa.select(run_writer.c.writer).where(run_writer.c.run_id == key)).scalars())


def _copy(
    reading: sa.Connection,
    writing: sa.Connection,
    row: sa.Row[Any],
    writers: dict[str, sa.Row[Any]],
    files: ChunkFiles,
) -> bool:
    project = ensure_project(writing, row.entity, row.project)
    values = {column.name: getattr(row, column.name) for column in run.c if column.name != "id"}
    key: int | None = writing.execute(
        upsert(writing, run)
        .values({**values, "project_id": project})
        .on_conflict_do_nothing()
        .returning(run.c.id)
    ).scalar()
    if key is None:
        return False  # another process copies it at this moment
    renamed = {
        writer.id: _insert(writing, run_writer, {**writer._mapping, "run_id": key})
        for writer in writers.values()
    }
    for alert in _rows(reading, run_alert, run_alert.c.run_id == row.id):
        _insert(
            writing, run_alert, {**alert, "run_id": key, "run_writer_id": renamed[alert["run_writer_id"]]}
        )
    for rewind in _rows(reading, run_rewind, run_rewind.c.run_id == row.id):
        place = {"run_id": key, "run_writer_id": renamed[rewind["run_writer_id"]]}
        writing.execute(sa.insert(run_rewind), {**rewind, **place})
    for table in (run_tag, run_file, run_attr):
        rows = [{**found, "run_id": key} for found in _rows(reading, table, table.c.run_id == row.id)]
        if table is run_attr:
            rows = [{**found, "project_id": project} for found in rows]
        if table is run_file:  # their content is in the other bucket still; see copy_content
            rows = [{**found, **dict.fromkeys(_CONTENT)} for found in rows]
        if rows:
            writing.execute(sa.insert(table), rows)
    for found in _rows(reading, run_console, run_console.c.run_id == row.id):
        payload = rename_writers(found["payload"], renamed)
        writing.execute(sa.insert(run_console), {**found, "run_id": key, "payload": payload})
    for group in list(_rows(reading, metric_group, metric_group.c.run_id == row.id)):
        place = {"run_id": key, "run_writer_id": renamed[group["run_writer_id"]]}
        new = _insert(writing, metric_group, {**group, **place, "sealed": 0})
        keys = list(_rows(reading, metric_key, metric_key.c.metric_group_id == group["id"]))
        writing.execute(
            sa.insert(metric_key), [{**found, "metric_group_id": new, "run_id": key} for found in keys]
        )
        kinds = {found["ordinal"]: found["kind"] for found in keys}
        _copy_chunks(reading, writing, group["id"], new, kinds, files)
    return True


def _copy_chunks(
    reading: sa.Connection,
    writing: sa.Connection,
    group: int,
    new: int,
    kinds: dict[int, str],
    files: ChunkFiles,
) -> None:
    rows: list[dict[str, Any]] = []
    size = 0
    for found in _rows(reading, metric_chunk, metric_chunk.c.metric_group_id == group):
        del found["id"]
        if found["location"] is not None:
            found["payload"] = _unseal(found["location"], found["ordinal"], kinds, files)
            found["location"] = None
        rows.append({**found, "metric_group_id": new})
        size += len(found["payload"] or b"")
        if size >= _BATCH_BYTES:
            writing.execute(sa.insert(metric_chunk), rows)
            rows, size = [], 0
    if rows:
        writing.execute(sa.insert(metric_chunk), rows)


def _unseal(location: str, ordinal: int, kinds: dict[int, str], files: ChunkFiles) -> bytes:
    """Return one column of a sealed chunk, or its axis, as the catalog would hold it."""
    axis, columns = files.read({0: (None, location)}, [ordinal] if ordinal else [], times=not ordinal)
    if ordinal:
        return encode_column(kinds[ordinal], columns[0])
    return encode_axis(axis.steps, axis.times, axis.orders)


def _rows(conn: sa.Connection, table: sa.Table, where: sa.ColumnElement[bool]) -> Iterator[dict[str, Any]]:
    query = sa.select(table).where(where).execution_options(yield_per=100)
    for row in conn.execute(query):
        yield dict(row._mapping)


def _insert(conn: sa.Connection, table: sa.Table, values: dict[str, Any]) -> int:
    values = {name: value for name, value in values.items() if name != "id"}
    key: int = conn.execute(sa.insert(table).values(values).returning(table.c.id)).scalar_one()
    return key
