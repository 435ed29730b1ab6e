"""Bringing a lost catalog's artifacts back from the records in the bucket.

Records tell rows as they were after some change; for each row the latest one counts. What the catalog has
stays as it is, unless a record of its own tells of a later change: so a catalog restored from an old backup
catches up in the same way as an empty one is filled.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from artline.artifacts.gathering import (
    Gathered,
    Settled,
    find_artifact,
    find_version,
    gather,
    place_name,
    settle,
)
from artline.artifacts.record_lines import values_of
from artline.artifacts.records import ARTIFACT_PARTS, VERSION_PARTS, artifact_lines, row_lines, version_lines
from artline.artifacts.refs import LATEST, version_alias
from artline.artifacts.survey import same_line

if TYPE_CHECKING:
    import sqlalchemy as sa

    from artline.storage.content import ContentStore

__all__ = ["Restored", "restore_records", "unclaimed_manifests"]

_Place = tuple[Any, ...]
_HISTORY = {"edge": "lineage", "event": "history"}


@dataclass(slots=True)
class Restored:
    """What came back from the records; ``problems`` are sentences, ``damaged`` and ``gone`` name objects.

    ``rewritten`` names versions whose row in the catalog was not what its record says.
    """

    records: int = 0
    artifacts: int = 0
    versions: int = 0
    aliases: int = 0
    rewritten: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


def restore_records(content: ContentStore) -> Restored:
    """Take into the catalog what the bucket's records know and it does not; one transaction, idempotent.

    Rows that differ from their latest record are written anew from it. Writers may work meanwhile. Raises
    StoreTooNewError for records of a later format, and the errors of bucket and catalog.
    """
    from artline.artifacts.records import publish

    publish(content)
    with closing(Gathered()) as gathered:
        settled = settle(content)
        gather(content, gathered)
        result = Restored(
            gathered.records, problems=gathered.problems, damaged=gathered.damaged, gone=gathered.gone
        )
        with content.catalog.write() as conn:
            _Restorer(conn, content, gathered, settled, result).run()
    return result


def unclaimed_manifests(content: ContentStore) -> list[bytes]:
    """Return the roots of manifests that no version or draft has: abandoned ones, or of lost versions."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_contribution, artifact_version
    from artline.storage.pack import Kind
    from artline.storage.schema import chunk

    version = sa.exists().where(artifact_version.c.root == chunk.c.digest)
    draft = sa.exists().where(artifact_contribution.c.root == chunk.c.digest)
    query = sa.select(chunk.c.digest).where(chunk.c.kind == int(Kind.ROOT), ~version, ~draft)
    with content.catalog.read() as conn:
        return [bytes(digest) for digest in conn.scalars(query.order_by(chunk.c.digest))]


class _Restorer:
    """Writes gathered lines into the catalog, within one transaction."""

    def __init__(
        self,
        conn: sa.Connection,
        content: ContentStore,
        gathered: Gathered,
        settled: Settled,
        result: Restored,
    ) -> None:
        from artline.storage.records import catalog_id

        self._conn = conn
        self._catalog = content.catalog
        self._gathered = gathered
        self._settled = settled
        self._result = result
        self._own = catalog_id(conn)
        self._artifacts: dict[_Place, tuple[int, int]] = {}  # id, and the changes that it had before
        self._touched: dict[int, _Place] = {}

    def run(self) -> None:
        later = [line for rank, line in self._gathered.each("artifact") if self._artifact(rank, line)]
        parts = []
        for rank, line in self._gathered.each("version"):
            version_id = self._version(rank, line)
            if version_id is not None:
                parts.append((version_id, line["parts"]))
        for version_id, belongings in parts:
            self._replace(VERSION_PARTS, "version_id", version_id, belongings)
        for line in later:
            place = tuple(line["of"])
            artifact_id = self._artifacts[place][0]
            self._replace(ARTIFACT_PARTS, "artifact_id", artifact_id, line["parts"])
            if self._artifacts[place][1] < line["changes"]:
                self._result.aliases += len(line["parts"].get("artifact_alias", ()))
        self._additions("edge")
        self._additions("event")
        for artifact_id, place in self._touched.items():
            self._settle(artifact_id, place)

    def _artifact(self, rank: tuple[str, int], line: dict[str, Any]) -> bool:
        """Write an artifact's row; tell whether the record knows more of it than the catalog."""
        from artline.artifacts.schema import artifact, project

        place = tuple(line["of"])
        known = find_artifact(self._conn, place)
        values = values_of(artifact, line["row"])
        if known is None:
            about = line.get("project", {})
            made = self._catalog.upsert(project).values(
                entity=place[0],
                name=place[1],
                description=about.get("description", ""),
                created_at=about.get("created_at", values.get("created_at", 0.0)),
            )
            self._conn.execute(made.on_conflict_do_nothing())
            project_id = self._conn.scalar(
                project.select()
                .with_only_columns(project.c.id)
                .where(project.c.entity == place[0], project.c.name == place[1])
            )
            artifact_id = self._conn.execute(
                artifact.insert()
                .values(project_id=project_id, name=place[2], changes=line["changes"], **values)
                .returning(artifact.c.id)
            ).scalar_one()
            self._artifacts[place] = artifact_id, -1
            self._touched[artifact_id] = place
            self._result.artifacts += 1
            return True
        self._artifacts[place] = known.id, known.changes
        if rank[0] != self._own or not self._counts(known.id, known.changes, line["changes"]):
            return False
        if known.changes == line["changes"]:
            (now,) = artifact_lines(self._conn, [known.id])
            if same_line(line, json.loads(now)):
                return False
            self._result.rewritten.append("/".join(place))
        values["next_version"] = max(values["next_version"], known.next_version)
        self._conn.execute(
            artifact.update().where(artifact.c.id == known.id).values(changes=line["changes"], **values)
        )
        self._touched[known.id] = place
        return True

    def _version(self, rank: tuple[str, int], line: dict[str, Any]) -> int | None:
        """Write a version's row; return its id when the record knows more of it than the catalog."""
        from artline.artifacts.schema import artifact_version

        place, number = tuple(line["of"][:3]), line["of"][3]
        if place not in self._artifacts:  # its artifact's own record is lost
            row = {
                "type": line["type"],
                "description": "",
                "created_at": line["row"]["created_at"],
                "next_version": 0,
            }
            self._artifact(rank, {"of": place, "changes": 0, "row": row, "parts": {}})
        artifact_id, before = self._artifacts[place]
        values = values_of(artifact_version, line["row"])
        known = find_version(self._conn, artifact_id, number)
        if known is None:
            self._result.versions += 1
            self._touched[artifact_id] = place
            made: int = self._conn.execute(
                artifact_version.insert()
                .values(artifact_id=artifact_id, number=number, **values)
                .returning(artifact_version.c.id)
            ).scalar_one()
            return made
        own = rank[0] == self._own
        damaged = (
            own
            and self._settled.changes.get(artifact_id) == before
            and not same_line(line, json.loads(next(version_lines(self._conn, [known.id]))))
        )
        if damaged:
            self._result.rewritten.append(place_name(line["of"]))
        elif bytes(known.root) != values["root"]:
            self._result.problems.append(
                f"{place_name(line['of'])} has another content in the catalog than in the records; left alone"
            )
            return None
        elif not own or rank[1] <= before:
            return None
        self._touched[artifact_id] = place
        self._conn.execute(
            artifact_version.update().where(artifact_version.c.id == known.id).values(**values)
        )
        return int(known.id)

    def _counts(self, artifact_id: int, before: int, recorded: int) -> bool:
        """Tell whether the record of an artifact is later than its row, or must be the same."""
        return recorded > before or (recorded == before == self._settled.changes.get(artifact_id))

    def _replace(
        self, names: tuple[str, ...], key: str, owner: int, belongings: dict[str, list[dict[str, Any]]]
    ) -> None:
        """Make these the rows that belong to an artifact or version."""
        from artline.artifacts.schema import artifact_version
        from artline.storage.schema import metadata

        for name in names:
            table = metadata.tables[name]
            self._conn.execute(table.delete().where(table.c[key] == owner))
            for fields in belongings.get(name, ()):
                values = values_of(table, fields)
                for column in table.columns:
                    if column.name in values and column.references(artifact_version.c.id):
                        values[column.name] = self._version_id(values[column.name])
                if None in [values[c.name] for c in table.columns if c.name in values and not c.nullable]:
                    what, of = (
                        fields.get("name", "a link"),
                        place_name(next(value for value in fields.values() if isinstance(value, list))),
                    )
                    self._result.problems.append(f"{what} names {of}, which has no record")
                    continue
                self._conn.execute(table.insert().values({**values, key: owner}))

    def _additions(self, what: str) -> None:
        """Add edges or events that the catalog has not; one that differs in a single column goes for it."""
        from artline.artifacts import schema

        table = schema.artifact_edge if what == "edge" else schema.artifact_event
        for rank, line in self._gathered.each(what):
            version_id = self._version_id(line["of"])
            if version_id is None:
                continue  # the version is named already
            values = {"version_id": version_id, **values_of(table, line["row"])}
            same = [table.c[name] == value for name, value in values.items()]
            if self._conn.execute(table.select().where(*same)).first() is not None:
                continue
            damaged = self._find_damaged(what, table, same) if rank[0] == self._own else None
            if damaged is not None:
                self._conn.execute(table.update().where(table.c.id == damaged).values(**values))
                self._result.rewritten.append(f"the {_HISTORY[what]} of {place_name(line['of'])}")
                continue
            if what == "edge" and self._conn.execute(table.select().where(*_key(table, values))).first():
                continue  # the catalog's own
            self._conn.execute(table.insert().values(**values))

    def _find_damaged(self, what: str, table: sa.Table, same: list[Any]) -> int | None:
        """Return the row that no record tells so and that differs from one in a single column."""
        for column in range(len(same)):
            rest = same[:column] + same[column + 1 :]
            for row_id in self._conn.scalars(table.select().with_only_columns(table.c.id).where(*rest)).all():
                (text,) = row_lines(self._conn, what, [row_id])
                found = self._gathered.recorded(json.loads(text))
                told = found is not None and same_line(found[1], json.loads(text))
                if self._settled.is_recorded(what, row_id) and not told:
                    return int(row_id)
        return None

    def _settle(self, artifact_id: int, place: _Place) -> None:
        """See that no number is given twice and ``latest`` is somewhere; name versions without a record."""
        import sqlalchemy as sa

        from artline.artifacts.commit import move_alias
        from artline.artifacts.schema import artifact, artifact_version
        from artline.artifacts.versions import find_version

        version = artifact_version.c
        query = sa.select(version.number, version.id, version.deleted_at).where(
            version.artifact_id == artifact_id
        )
        rows = self._conn.execute(query.order_by(version.number)).all()
        numbers = {row.number for row in rows}
        following = self._conn.scalar(sa.select(artifact.c.next_version).where(artifact.c.id == artifact_id))
        following = max([following or 0, *(number + 1 for number in numbers)])
        self._conn.execute(
            artifact.update().where(artifact.c.id == artifact_id).values(next_version=following)
        )
        first = 0
        for number in (*sorted(numbers), following):
            gap = place_name((*place, first))
            if number == first + 1:
                self._result.problems.append(f"{gap} has no record: it is lost, or never was")
            elif number > first:
                last = version_alias(number - 1)
                self._result.problems.append(f"{gap} to {last} have no records: they are lost, or never were")
            first = number + 1
        live = [row.id for row in rows if row.deleted_at is None]
        if live and find_version(self._conn, artifact_id, LATEST) is None:
            move_alias(self._conn, artifact_id, LATEST, live[-1])

    def _version_id(self, place: Any) -> int | None:
        if place is None:
            return None
        row = find_artifact(self._conn, place)
        found = find_version(self._conn, row.id, place[3]) if row is not None else None
        return None if found is None else int(found.id)


def _key(table: sa.Table, values: dict[str, Any]) -> list[Any]:
    """Return what tells an edge from others."""
    return [table.c[name] == values[name] for name in ("version_id", "run", "role")]
