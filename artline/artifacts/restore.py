"""Bringing a lost catalog's artifacts back from the records in the bucket.

Records tell rows as they were after some change; for each row the latest one counts. What the catalog has
stays as it is, unless a record of its own tells of a later change: so a catalog restored from an old backup
catches up in the same way as an empty one is filled.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from artline.artifacts.record_lines import check_line, values_of
from artline.artifacts.records import ARTIFACT_PARTS, FORMAT, VERSION_PARTS
from artline.artifacts.refs import LATEST, version_alias
from artline.errors import IntegrityError, NotFoundError, StoreTooNewError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from artline.storage.content import ContentStore

__all__ = ["Restored", "Survey", "restore_records", "survey_records", "unclaimed_manifests"]

_Place = tuple[Any, ...]


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


@dataclass(frozen=True, slots=True)
class Survey:
    """How many record objects there are, and sentences about what is wrong with them or the catalog."""

    records: int
    problems: tuple[str, ...]


def restore_records(content: ContentStore) -> Restored:
    """Take into the catalog what the bucket's records know and it does not; one transaction, idempotent.

    Rows that differ from their latest record are written anew from it. Writers may work meanwhile. Raises
    StoreTooNewError for records of a later format, and the errors of bucket and catalog.
    """
    from artline.artifacts.records import publish

    publish(content)
    result = Restored()
    with closing(_Gathered()) as gathered:
        settled = _settled(content)
        _gather(content, gathered, result)
        with content.catalog.write() as conn:
            _Restorer(conn, content, gathered, settled, result).run()
    return result


def survey_records(content: ContentStore) -> Survey:
    """Read all records and compare them with the catalog; nothing is changed, and writers may work."""
    from artline.storage.records import catalog_id

    result = Restored()
    with closing(_Gathered()) as gathered:
        settled = _settled(content)
        _gather(content, gathered, result)
        with content.catalog.read() as conn:
            own = catalog_id(conn)
            problems = [*_ahead(conn, gathered, own), *_unlike(conn, gathered, own, settled)]
    return Survey(result.records, (*result.problems, *problems))


def _settled(content: ContentStore) -> dict[int, int]:
    """Return the number of changes of each artifact of which nothing waits to be recorded."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact, artifact_outbox, artifact_version

    noted, version = artifact_outbox.c, artifact_version.c
    waiting = sa.union(
        sa.select(noted.row_id).where(noted.kind == "artifact"),
        sa.select(version.artifact_id)
        .join(artifact_outbox, noted.row_id == version.id)
        .where(noted.kind == "version"),
    )
    query = sa.select(artifact.c.id, artifact.c.changes).where(artifact.c.id.not_in(waiting))
    with content.catalog.read() as conn:
        return dict(iter(conn.execute(query)))


def _ahead(conn: sa.Connection, gathered: _Gathered, own: str) -> Iterator[str]:
    """Name the artifacts that the records know more of than the catalog."""
    behind = set()
    for (catalog, changes), line in gathered.each("artifact"):
        row = _find_artifact(conn, line["of"])
        if row is None or (catalog == own and changes > row.changes):
            behind.add("/".join(line["of"]))
    for _, line in gathered.each("version"):
        row = _find_artifact(conn, line["of"])
        if row is None or _find_version(conn, row.id, line["of"][3]) is None:
            behind.add("/".join(line["of"][:3]))
    for name in sorted(behind):
        yield (
            f"the bucket's records know more of {name} than the catalog does: was the catalog replaced by an "
            "older one? Before anything is logged: art fsck --repair"
        )


def _unlike(conn: sa.Connection, gathered: _Gathered, own: str, settled: dict[int, int]) -> Iterator[str]:
    """Name versions whose row in the catalog is not what their record says, or that have no record."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact, artifact_version, project

    version = artifact_version.c
    query = (
        sa.select(artifact_version, artifact.c.changes, artifact.c.name, project.c.entity)
        .add_columns(project.c.name.label("project"))
        .join(artifact, artifact.c.id == version.artifact_id)
        .join(project, project.c.id == artifact.c.project_id)
        .order_by(version.id)
        .limit(500)
    )
    last = 0
    while rows := conn.execute(query.where(version.id > last)).all():
        last = rows[-1].id
        for row in rows:
            if settled.get(row.artifact_id) != row.changes:
                continue
            place = [row.entity, row.project, row.name, row.number]
            found = gathered.get("version", place)
            if found is None:
                yield f"{_name(place)} has no record in the bucket. Write one: art fsck --repair"
            elif found[0] == own and _differs(artifact_version, row, found[1]["row"]):
                yield (
                    f"the catalog's row of {_name(place)} is not what its record says, so it is damaged. "
                    "Write it anew: art fsck --repair"
                )


def _differs(table: sa.Table, row: Any, fields: dict[str, Any]) -> bool:
    for name, value in values_of(table, fields).items():
        have = getattr(row, name)
        if (bytes(have) if isinstance(have, memoryview) else have) != value:
            return True
    return False


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


class _Gathered:
    """The latest line about each row, in a temporary table on disk."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA cache_size=-16384;"
            "CREATE TABLE line (what TEXT, key TEXT, catalog TEXT, changes INTEGER, at REAL, text TEXT,"
            " PRIMARY KEY (what, key)) WITHOUT ROWID; BEGIN;"
        )

    def close(self) -> None:
        self._db.close()

    def take(self, catalog: str, line: dict[str, Any]) -> str:
        """Keep a line if it is the latest of its row; return what is wrong with it, or nothing."""
        if not check_line(line):
            return ""  # of a later version
        what, of, row = line["what"], line["of"], line["row"]
        key = list(of)
        if what == "edge":
            key += [row["run"], row["role"]]
        elif what == "event":
            key += [row["at"], row["kind"], row["run"], row["detail"]]
        text, changes = json.dumps(key), line.get("changes", 0)
        known = self._db.execute(
            "SELECT catalog, changes, text FROM line WHERE what = ? AND key = ?", (what, text)
        ).fetchone()
        if known is not None and known[:2] > (catalog, changes):
            return ""
        self._db.execute(
            "INSERT OR REPLACE INTO line VALUES (?, ?, ?, ?, ?, ?)",
            (what, text, catalog, changes, row["at" if "at" in row else "created_at"], json.dumps(line)),
        )
        if what == "version" and known is not None and json.loads(known[2])["row"]["root"] != row["root"]:
            return f"{_name(of)} is recorded with two contents by catalogs {known[0]} and {catalog}"
        return ""

    def get(self, what: str, place: list[Any]) -> tuple[str, dict[str, Any]] | None:
        """Return the catalog and line of a row, None when nothing is recorded of it."""
        query = "SELECT catalog, text FROM line WHERE what = ? AND key = ?"
        found = self._db.execute(query, (what, json.dumps(place))).fetchone()
        return None if found is None else (found[0], json.loads(found[1]))

    def each(self, what: str) -> Iterator[tuple[tuple[str, int], dict[str, Any]]]:
        """Yield the rank (catalog, number of changes) and line of each row of a kind, the oldest first."""
        cursor = self._db.execute(
            "SELECT catalog, changes, text FROM line WHERE what = ? ORDER BY at, key", (what,)
        )
        for catalog, changes, text in cursor:
            yield (catalog, changes), json.loads(text)


def _gather(content: ContentStore, gathered: _Gathered, result: Restored) -> None:
    from artline.storage.records import is_noted, list_records, read_record

    for record in list_records(content):
        problems: list[str] = []
        try:
            for text in read_record(content, record.name, problems):
                try:
                    line = json.loads(text)
                    if line["what"] == "header":
                        if line["format"] > FORMAT:
                            raise StoreTooNewError(
                                f"{record.name} in {content.bucket.url} has records of format "
                                f"{line['format']}, newer than this Artline reads ({FORMAT}). "
                                "Upgrade: pip install --upgrade artline"
                            )
                        continue
                    problem = gathered.take(record.catalog, line)
                except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                    problem = f"{record.name} has a line that is no record: {error!r}"
                if problem:
                    problems.append(problem)
        except NotFoundError:
            if is_noted(content, record.name):  # else a checkpoint has made it superfluous meanwhile
                result.gone.append(record.name)
                result.problems.append(
                    f"the record {record.name} is gone from {content.bucket.url}: what it told may be told "
                    "nowhere else. Write all anew: art fsck --repair"
                )
            continue
        except IntegrityError as error:
            problems.append(error.message)
        result.records += 1
        if problems:
            result.damaged.append(record.name)
            result.problems += problems


class _Restorer:
    """Writes gathered lines into the catalog, within one transaction."""

    def __init__(
        self,
        conn: sa.Connection,
        content: ContentStore,
        gathered: _Gathered,
        settled: dict[int, int],
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
        self._additions("edge", ("run", "role"))
        self._additions("event", ("at", "run", "kind"))
        for artifact_id, place in self._touched.items():
            self._settle(artifact_id, place)

    def _artifact(self, rank: tuple[str, int], line: dict[str, Any]) -> bool:
        """Write an artifact's row; tell whether the record knows more of it than the catalog."""
        from artline.artifacts.schema import artifact, project

        place = tuple(line["of"])
        known = _find_artifact(self._conn, place)
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
        known = _find_version(self._conn, artifact_id, number)
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
            and self._settled.get(artifact_id) == before
            and _differs(artifact_version, known, line["row"])
        )
        if damaged:
            self._result.rewritten.append(_name(line["of"]))
        elif bytes(known.root) != values["root"]:
            self._result.problems.append(
                f"{_name(line['of'])} has another content in the catalog than in the records; left alone"
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
        return recorded > before or (recorded == before == self._settled.get(artifact_id))

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
                        _name(next(value for value in fields.values() if isinstance(value, list))),
                    )
                    self._result.problems.append(f"{what} names {of}, which has no record")
                    continue
                self._conn.execute(table.insert().values({**values, key: owner}))

    def _additions(self, what: str, same: tuple[str, ...]) -> None:
        """Add edges or events that the catalog has not."""
        from artline.artifacts import schema

        table = schema.artifact_edge if what == "edge" else schema.artifact_event
        for _, line in self._gathered.each(what):
            version_id = self._version_id(line["of"])
            if version_id is None:
                continue  # the version is named already
            values = values_of(table, line["row"])
            known = table.select().where(
                table.c.version_id == version_id, *[table.c[name] == values[name] for name in same]
            )
            if self._conn.execute(known).first() is None:
                self._conn.execute(table.insert().values(version_id=version_id, **values))

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
            gap = _name((*place, first))
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
        row = _find_artifact(self._conn, place)
        found = _find_version(self._conn, row.id, place[3]) if row is not None else None
        return None if found is None else int(found.id)


def _find_artifact(conn: sa.Connection, place: Any) -> Any:
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact, project

    query = (
        sa.select(artifact.c.id, artifact.c.changes, artifact.c.next_version)
        .join(project, project.c.id == artifact.c.project_id)
        .where(project.c.entity == place[0], project.c.name == place[1], artifact.c.name == place[2])
    )
    return conn.execute(query).one_or_none()


def _find_version(conn: sa.Connection, artifact_id: int, number: int) -> Any:
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_version

    version = artifact_version.c
    query = sa.select(artifact_version).where(version.artifact_id == artifact_id, version.number == number)
    return conn.execute(query).one_or_none()


def _name(place: Any) -> str:
    return f"{'/'.join(place[:3])}:{version_alias(place[3])}"
