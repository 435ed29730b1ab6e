"""What the records in the bucket say: the latest line about each row, and what must be told by one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from artline.artifacts.record_lines import check_line
from artline.artifacts.records import FORMAT
from artline.artifacts.refs import version_alias
from artline.errors import IntegrityError, NotFoundError, StoreTooNewError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from artline.storage.content import ContentStore

__all__ = ["Gathered", "Settled", "find_artifact", "find_version", "gather", "place_name", "settle"]


@dataclass(frozen=True, slots=True)
class Settled:
    """What must be recorded, as it was in the catalog before its records were read.

    ``changes`` has the number of changes of each artifact of which nothing waits to be recorded.
    ``waiting`` has the ids of edges and events that do, ``last`` the last id there was, by kind.
    """

    changes: dict[int, int]
    waiting: dict[str, frozenset[int]]
    last: dict[str, int]

    def is_recorded(self, kind: str, row_id: int) -> bool:
        """Tell whether an edge or event must be in the records."""
        return row_id <= self.last[kind] and row_id not in self.waiting[kind]


def settle(content: ContentStore) -> Settled:
    """Return what must be in the records that are read from now on."""
    import sqlalchemy as sa

    from artline.artifacts import schema

    noted, version, artifact = schema.artifact_outbox.c, schema.artifact_version.c, schema.artifact.c
    waiting = sa.union(
        sa.select(noted.row_id).where(noted.kind == "artifact"),
        sa.select(version.artifact_id)
        .join(schema.artifact_outbox, noted.row_id == version.id)
        .where(noted.kind == "version"),
    )
    with content.catalog.read() as conn:
        query = sa.select(artifact.id, artifact.changes).where(artifact.id.not_in(waiting))
        changes = dict(iter(conn.execute(query)))
        kinds = {"edge": schema.artifact_edge, "event": schema.artifact_event}
        left = {
            kind: frozenset(conn.scalars(sa.select(noted.row_id).where(noted.kind == kind))) for kind in kinds
        }
        last = {kind: conn.scalar(sa.select(sa.func.max(table.c.id))) or 0 for kind, table in kinds.items()}
    return Settled(changes, left, last)


class Gathered:
    """The latest line about each row, in a temporary table on disk.

    ``records`` counts the objects that were read, ``problems`` are sentences about them, ``damaged`` and
    ``gone`` name objects.
    """

    def __init__(self) -> None:
        self.records = 0
        self.problems: list[str] = []
        self.damaged: list[str] = []
        self.gone: list[str] = []
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA cache_size=-16384;"
            "CREATE TABLE line (what TEXT, key TEXT, catalog TEXT, changes INTEGER, at REAL, text TEXT,"
            " PRIMARY KEY (what, key)) WITHOUT ROWID; BEGIN;"
        )

    def close(self) -> None:
        """Forget everything."""
        self._db.close()

    def take(self, catalog: str, line: dict[str, Any]) -> str:
        """Keep a line if it is the latest of its row; return what is wrong with it, or nothing."""
        if not check_line(line):
            return ""  # of a later version
        what, row = line["what"], line["row"]
        text, changes = _key(line), line.get("changes", 0)
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
            return (
                f"{place_name(line['of'])} is recorded with two contents by catalogs {known[0]} and {catalog}"
            )
        return ""

    def recorded(self, line: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Return the catalog and line that tell of the same row as a line does, None without one."""
        query = "SELECT catalog, text FROM line WHERE what = ? AND key = ?"
        found = self._db.execute(query, (line["what"], _key(line))).fetchone()
        return None if found is None else (found[0], json.loads(found[1]))

    def each(self, what: str) -> Iterator[tuple[tuple[str, int], dict[str, Any]]]:
        """Yield the rank (catalog, number of changes) and line of each row of a kind, the oldest first."""
        cursor = self._db.execute(
            "SELECT catalog, changes, text FROM line WHERE what = ? ORDER BY at, key", (what,)
        )
        for catalog, changes, text in cursor:
            yield (catalog, changes), json.loads(text)


def _key(line: dict[str, Any]) -> str:
    """Return what tells the row of a line from others of its kind; an event is all of it."""
    key, row = list(line["of"]), line["row"]
    if line["what"] == "edge":
        key += [row["run"], row["role"]]
    elif line["what"] == "event":
        key += [row["at"], row["kind"], row["run"], row["detail"]]
    return json.dumps(key)


def gather(content: ContentStore, result: Gathered) -> None:
    """Read all records; raises StoreTooNewError for those of a later format."""
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
                    problem = result.take(record.catalog, line)
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


def find_artifact(conn: sa.Connection, place: Any) -> Any:
    """Return id and numbers of the artifact at a place, None without one."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact, project

    query = (
        sa.select(artifact.c.id, artifact.c.changes, artifact.c.next_version)
        .join(project, project.c.id == artifact.c.project_id)
        .where(project.c.entity == place[0], project.c.name == place[1], artifact.c.name == place[2])
    )
    return conn.execute(query).one_or_none()


def find_version(conn: sa.Connection, artifact_id: int, number: int) -> Any:
    """Return the row of a version, None without one."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_version

    version = artifact_version.c
    query = sa.select(artifact_version).where(version.artifact_id == artifact_id, version.number == number)
    return conn.execute(query).one_or_none()


def place_name(place: Any) -> str:
    """Return ``entity/project/name:v3``."""
    return f"{'/'.join(place[:3])}:{version_alias(place[3])}"
