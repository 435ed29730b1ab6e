"""Records: what the catalog knows of artifacts, kept in the bucket, so that a lost catalog can be rebuilt.

What changes is noted in a table by the transaction that changes it. Once that is committed, and before
anybody is told so, the rows as they are now go into the bucket as one small object. So a record never tells
of what did not happen. What a process that died left in the table goes with the next change.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from secrets import randbits
from typing import TYPE_CHECKING, Any, Literal

from artline.errors import ArtlineError, StoreLockedError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from artline.storage.content import ContentStore

__all__ = [
    "ARTIFACT_PARTS",
    "FORMAT",
    "VERSION_PARTS",
    "artifact_lines",
    "changing",
    "checkpoint",
    "note_artifact",
    "note_row",
    "note_version",
    "publish",
    "row_lines",
    "version_lines",
]

FORMAT = 1
# Tables whose rows belong to an artifact or a version and are recorded with it.
ARTIFACT_PARTS = ("artifact_alias", "artifact_protection", "artifact_rule")
VERSION_PARTS = ("artifact_link", "artifact_tag")
_AT_ONCE = 2000  # noted rows that go into one object
_BATCH = 500


# Noting, inside the transaction


def note_artifact(conn: sa.Connection, artifact_id: int) -> None:
    """Note that an artifact, its aliases or what else belongs to it changed; locks the artifact's row."""
    from artline.artifacts.schema import artifact

    column = artifact.c
    conn.execute(artifact.update().where(column.id == artifact_id).values(changes=column.changes + 1))
    note_row(conn, "artifact", artifact_id)


def note_version(conn: sa.Connection, version_id: int) -> None:
    """Note that a version is new or changed; locks its artifact's row."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact, artifact_version

    version = artifact_version.c
    owner = sa.select(version.artifact_id).where(version.id == version_id).scalar_subquery()
    conn.execute(artifact.update().where(artifact.c.id == owner).values(changes=artifact.c.changes + 1))
    note_row(conn, "version", version_id)


def note_row(conn: sa.Connection, kind: Literal["artifact", "version", "edge", "event"], row_id: int) -> None:
    """Note a row that is new.

    Its number is drawn, never the next one: SQLite would give a number again once the rows with higher ones
    are gone, and whoever recorded those a moment before another did would then forget this one unrecorded.
    """
    from artline.artifacts.schema import artifact_outbox

    conn.execute(artifact_outbox.insert().values(id=1 + randbits(62), kind=kind, row_id=row_id))


# Publishing, after the transaction


@contextmanager
def changing(content: ContentStore) -> Iterator[sa.Connection]:
    """Run a transaction that changes artifacts; when the block has ended, its record is durable, too.

    Raises what the transaction raises, and what the bucket raises when the record cannot be written: then
    the change is made nevertheless, and the message says so.
    """
    with content.catalog.write() as conn:
        yield conn
    try:
        publish(content)
    except ArtlineError as error:
        raise type(error)(
            "the change is made and need not be made again, but the record from which a lost catalog would "
            f"be rebuilt could not be written: {error.message}. It is written with the next change"
        ) from error


def publish(content: ContentStore) -> int:
    """Write a record of everything noted; return how many rows that were. Idempotent, safe beside others."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_outbox
    from artline.storage.records import CHANGES, catalog_id, name_catalog, note_records, write_record

    column = artifact_outbox.c
    query = sa.select(column.id, column.kind, column.row_id).order_by(column.id).limit(_AT_ONCE)
    total = 0
    while True:
        with content.catalog.read() as conn:
            noted = conn.execute(query).all()
            if not noted:
                return total
            catalog = catalog_id(conn)
            rows: dict[str, list[int]] = {}
            for row in noted:
                rows.setdefault(row.kind, []).append(row.row_id)
            lines = [_header(catalog, CHANGES), *_changes(conn, rows)] if catalog else []
        if not catalog:
            name_catalog(content)
            continue
        name = write_record(content, catalog, CHANGES, lines)
        # What stays noted because others keep the catalog locked is only recorded once more.
        with suppress(StoreLockedError), content.catalog.write(durable=False) as conn:
            note_records(content, conn, [name])
            _forget(conn, [row.id for row in noted])
        total += len(noted)
        if len(noted) < _AT_ONCE:
            return total


def checkpoint(content: ContentStore) -> int:
    """Write all that is known of artifacts into one record and delete those it makes superfluous.

    Returns how many objects were deleted. The checkpoint before this one, and what came after it, stay: so
    one damaged object costs nothing. Safe beside writers and other checkpoints.
    """
    import itertools

    from artline.storage.records import (
        CHECKPOINTS,
        forget_records,
        list_records,
        name_catalog,
        note_records,
        write_record,
    )

    publish(content)
    catalog = name_catalog(content)
    before = list_records(content)  # whatever is in these is in the catalog, and so in the checkpoint
    with content.catalog.read() as conn:
        lines = itertools.chain([_header(catalog, CHECKPOINTS)], _everything(conn))
        name = write_record(content, catalog, CHECKPOINTS, lines)
    earlier = [record for record in before if record.catalog == catalog and record.kind == CHECKPOINTS]
    superfluous = []
    if earlier:
        last = max(earlier, key=lambda record: record.stem)
        superfluous = [record.name for record in before if record.stem < last.stem]
    with content.catalog.write() as conn:
        note_records(content, conn, [name])
        forget_records(conn, superfluous)
    for record in superfluous:
        content.bucket.delete(record)
    return len(superfluous)


# What is written: one JSON object a line


def _header(catalog: str, kind: str) -> bytes:
    return _line(
        {"what": "header", "format": FORMAT, "catalog": catalog, "kind": kind, "written": time.time()}
    )


def _changes(conn: sa.Connection, rows: dict[str, list[int]]) -> Iterator[bytes]:
    """Yield the lines of noted rows as they are now; artifacts first."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_version

    version = artifact_version.c
    artifacts = set(rows.get("artifact", ()))
    versions = sorted(set(rows.get("version", ())))
    for part in _parts(versions):
        artifacts.update(conn.scalars(sa.select(version.artifact_id).where(version.id.in_(part))))
    yield from artifact_lines(conn, sorted(artifacts))
    yield from version_lines(conn, versions)
    for kind in ("edge", "event"):
        yield from row_lines(conn, kind, sorted(set(rows.get(kind, ()))))


def _everything(conn: sa.Connection) -> Iterator[bytes]:
    import sqlalchemy as sa

    from artline.artifacts import schema

    for table, encode in (
        (schema.artifact, artifact_lines),
        (schema.artifact_version, version_lines),
        (schema.artifact_edge, lambda conn, ids: row_lines(conn, "edge", ids)),
        (schema.artifact_event, lambda conn, ids: row_lines(conn, "event", ids)),
    ):
        last = 0
        while ids := list(
            conn.scalars(sa.select(table.c.id).where(table.c.id > last).order_by(table.c.id).limit(_BATCH))
        ):
            yield from encode(conn, ids)
            last = ids[-1]


def artifact_lines(conn: sa.Connection, ids: Sequence[int]) -> Iterator[bytes]:
    """Yield the lines of artifacts as they are now, by id."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact, project

    for part in _parts(ids):
        places = _artifact_places(conn, part)
        parts = _belongings(conn, ARTIFACT_PARTS, "artifact_id", part)
        query = (
            sa.select(artifact, project.c.description.label("about"), project.c.created_at.label("begun"))
            .join(project, project.c.id == artifact.c.project_id)
            .where(artifact.c.id.in_(part))
            .order_by(artifact.c.id)
        )
        for row in conn.execute(query):
            yield _line(
                {
                    "what": "artifact",
                    "of": places[row.id],
                    "changes": row.changes,
                    "project": {"description": row.about, "created_at": row.begun},
                    "row": _plain(artifact, row, ("id", "project_id", "name", "changes")),
                    "parts": parts.get(row.id, {}),
                }
            )


def version_lines(conn: sa.Connection, ids: Sequence[int]) -> Iterator[bytes]:
    """Yield the lines of versions as they are now, by id."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact, artifact_version

    for part in _parts(ids):
        places = _version_places(conn, part)
        parts = _belongings(conn, VERSION_PARTS, "version_id", part)
        query = (
            sa.select(artifact_version, artifact.c.changes, artifact.c.type)
            .join(artifact, artifact.c.id == artifact_version.c.artifact_id)
            .where(artifact_version.c.id.in_(part))
            .order_by(artifact_version.c.id)
        )
        for row in conn.execute(query):
            yield _line(
                {
                    "what": "version",
                    "of": places[row.id],
                    "changes": row.changes,
                    "type": row.type,
                    "row": _plain(artifact_version, row, ("id", "artifact_id", "number")),
                    "parts": parts.get(row.id, {}),
                }
            )


def row_lines(conn: sa.Connection, kind: str, ids: Sequence[int]) -> Iterator[bytes]:
    """Yield the lines of edges or events, which are written once and never change, by id."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_edge, artifact_event

    table = artifact_edge if kind == "edge" else artifact_event
    for part in _parts(ids):
        found = conn.execute(sa.select(table).where(table.c.id.in_(part)).order_by(table.c.id)).all()
        places = _version_places(conn, sorted({row.version_id for row in found}))
        for row in found:
            fields = _plain(table, row, ("id", "version_id"))
            yield _line({"what": kind, "of": places[row.version_id], "row": fields})


def _belongings(
    conn: sa.Connection, names: Sequence[str], key: str, ids: Sequence[int]
) -> dict[int, dict[str, list[dict[str, Any]]]]:
    """Return the rows of tables that belong to artifacts or versions, by owner and table.

    A column that names a version holds the version's place instead of its id.
    """
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_version
    from artline.storage.schema import metadata

    found: dict[int, dict[str, list[dict[str, Any]]]] = {}
    for name in names:
        table = metadata.tables[name]
        rows = conn.execute(
            sa.select(table).where(table.c[key].in_(ids)).order_by(*table.primary_key.columns)
        ).all()
        named = [
            column.name
            for column in table.columns
            if column.name != key and column.references(artifact_version.c.id)
        ]
        wanted = {getattr(row, column) for row in rows for column in named}
        places: dict[int, list[Any]] = {}
        for part in _parts(sorted(wanted)):
            places.update(_version_places(conn, part))
        for row in rows:
            fields = _plain(table, row, (key,))
            fields.update((column, places[getattr(row, column)]) for column in named)
            found.setdefault(getattr(row, key), {}).setdefault(name, []).append(fields)
    return found


def _artifact_places(conn: sa.Connection, ids: Sequence[int]) -> dict[int, list[Any]]:
    """Return entity, project and name of artifacts by their ids."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact, project

    query = sa.select(artifact.c.id, project.c.entity, project.c.name.label("project"), artifact.c.name).join(
        project, project.c.id == artifact.c.project_id
    )
    rows = conn.execute(query.where(artifact.c.id.in_(ids)))
    return {row.id: [row.entity, row.project, row.name] for row in rows}


def _version_places(conn: sa.Connection, ids: Sequence[int]) -> dict[int, list[Any]]:
    """Return entity, project, name and number of versions by their ids."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact, artifact_version, project

    version = artifact_version.c
    query = (
        sa.select(
            version.id, project.c.entity, project.c.name.label("project"), artifact.c.name, version.number
        )
        .join(artifact, artifact.c.id == version.artifact_id)
        .join(project, project.c.id == artifact.c.project_id)
        .where(version.id.in_(ids))
    )
    return {row.id: [row.entity, row.project, row.name, row.number] for row in conn.execute(query)}


def _plain(table: sa.Table, row: Any, without: Iterable[str]) -> dict[str, Any]:
    """Return the columns of a row as JSON knows them; bytes in hexadecimal."""
    fields = {}
    for column in table.columns:
        if column.name not in without:
            value = getattr(row, column.name)
            fields[column.name] = bytes(value).hex() if isinstance(value, bytes | memoryview) else value
    return fields


def _line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def _parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))


def _forget(conn: sa.Connection, ids: Sequence[int]) -> None:
    from artline.artifacts.schema import artifact_outbox

    for part in _parts(ids):
        conn.execute(artifact_outbox.delete().where(artifact_outbox.c.id.in_(part)))
