"""Comparing the catalog with the records in the bucket: what either of them knows better."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
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
from artline.artifacts.records import (
    ARTIFACT_PARTS,
    VERSION_PARTS,
    artifact_lines,
    row_lines,
    version_lines,
)

if TYPE_CHECKING:
    import sqlalchemy as sa

    from artline.storage.content import ContentStore

__all__ = ["Survey", "same_line", "survey_records"]

_BATCH = 500


@dataclass(frozen=True, slots=True)
class Survey:
    """How many record objects there are, and sentences about what is wrong with them or the catalog."""

    records: int
    problems: tuple[str, ...]


def survey_records(content: ContentStore) -> Survey:
    """Read all records and compare them with the catalog; nothing is changed, and writers may work."""
    from artline.storage.records import catalog_id

    with closing(Gathered()) as gathered:
        settled = settle(content)
        gather(content, gathered)
        with content.catalog.read() as conn:
            own = catalog_id(conn)
            problems = [
                *_ahead(conn, gathered, own),
                *_unlike(conn, gathered, own, settled),
                *_unlike_history(conn, gathered, own, settled),
            ]
        return Survey(gathered.records, (*gathered.problems, *problems))


def same_line(recorded: dict[str, Any], current: dict[str, Any]) -> bool:
    """Tell whether a row, with what belongs to it, is as its record says, in the columns that both have."""
    if not _same(recorded["row"], current["row"]):
        return False
    then, now = recorded.get("parts", {}), current.get("parts", {})
    for table in (*ARTIFACT_PARTS, *VERSION_PARTS):
        before, after = (sorted(parts.get(table, []), key=_named) for parts in (then, now))
        if len(before) != len(after) or not all(map(_same, before, after)):
            return False
    return True


def _same(recorded: dict[str, Any], current: dict[str, Any]) -> bool:
    return all(current[name] == value for name, value in recorded.items() if name in current)


def _named(row: dict[str, Any]) -> str:
    return str(row.get("name", ""))


def _ahead(conn: sa.Connection, gathered: Gathered, own: str) -> Iterator[str]:
    """Name the artifacts that the records know more of than the catalog."""
    behind = set()
    for (catalog, changes), line in gathered.each("artifact"):
        row = find_artifact(conn, line["of"])
        if row is None or (catalog == own and changes > row.changes):
            behind.add("/".join(line["of"]))
    for _, line in gathered.each("version"):
        row = find_artifact(conn, line["of"])
        if row is None or find_version(conn, row.id, line["of"][3]) is None:
            behind.add("/".join(line["of"][:3]))
    for name in sorted(behind):
        yield (
            f"the bucket's records know more of {name} than the catalog does: was the catalog replaced by an "
            "older one? Before anything is logged: art fsck --repair"
        )


def _unlike(conn: sa.Connection, gathered: Gathered, own: str, settled: Settled) -> Iterator[str]:
    """Name artifacts and versions that are not what their record says, or that have no record."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact, artifact_version

    for table, owner, lines in (
        (artifact, artifact.c.id, artifact_lines),
        (artifact_version, artifact_version.c.artifact_id, version_lines),
    ):
        last = 0
        query = sa.select(table.c.id, owner.label("owner")).order_by(table.c.id).limit(_BATCH)
        while rows := conn.execute(query.where(table.c.id > last)).all():
            last = rows[-1].id
            for row, text in zip(rows, lines(conn, [row.id for row in rows]), strict=True):
                line = json.loads(text)
                if settled.changes.get(row.owner) != line["changes"]:
                    continue  # it has changed since, or will be recorded yet
                found = gathered.recorded(line)
                name = place_name(line["of"]) if table is artifact_version else "/".join(line["of"])
                if found is None:
                    yield f"{name} has no record in the bucket. Write one: art fsck --repair"
                elif found[0] == own and not same_line(found[1], line):
                    yield (
                        f"the catalog's row of {name} is not what its record says, so it is damaged. "
                        "Write it anew: art fsck --repair"
                    )


def _unlike_history(conn: sa.Connection, gathered: Gathered, own: str, settled: Settled) -> Iterator[str]:
    """Name versions whose history or lineage has entries that are in no record, or otherwise."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_edge, artifact_event

    odd: Counter[tuple[str, str]] = Counter()
    for kind, what, table in (
        ("event", "history", artifact_event),
        ("edge", "lineage", artifact_edge),
    ):
        last = 0
        query = sa.select(table.c.id).order_by(table.c.id).limit(_BATCH)
        while ids := list(conn.scalars(query.where(table.c.id > last))):
            last = ids[-1]
            for row_id, text in zip(ids, row_lines(conn, kind, ids), strict=True):
                if settled.is_recorded(kind, row_id):
                    line = json.loads(text)
                    found = gathered.recorded(line)
                    if found is None or (found[0] == own and not same_line(found[1], line)):
                        odd[place_name(line["of"]), what] += 1
    for (name, what), count in sorted(odd.items()):
        which = "an entry" if count == 1 else f"{count:,} entries"
        yield (
            f"the catalog has {which} in the {what} of {name} that no record tells so: it is damaged, or "
            "the record is lost. Mend it: art fsck --repair"
        )
