"""Projects: the places that artifacts and runs belong to."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from artline.artifacts.refs import check_name

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["ProjectRecord", "ensure_project", "find_project", "list_projects"]


@dataclass(frozen=True, slots=True)
class ProjectRecord:
    """A project as the catalog has it; ``created_at`` in seconds since 1970."""

    id: int
    entity: str
    name: str
    description: str
    created_at: float


def ensure_project(conn: sa.Connection, entity: str, name: str) -> int:
    """Return the id of a project, creating it when it is new; idempotent, safe beside other writers."""
    from artline.artifacts.schema import project, upsert

    found = find_project(conn, entity, name)
    if found is not None:
        return found
    check_name(entity, "entity")
    check_name(name, "project")
    conn.execute(
        upsert(conn, project)
        .values(entity=entity, name=name, description="", created_at=time.time())
        .on_conflict_do_nothing()
    )
    made = find_project(conn, entity, name)
    assert made is not None
    return made


def find_project(conn: sa.Connection, entity: str, name: str) -> int | None:
    """Return the id of a project, None when there is none."""
    import sqlalchemy as sa

    from artline.artifacts.schema import project

    query = sa.select(project.c.id).where(project.c.entity == entity, project.c.name == name)
    found: int | None = conn.execute(query).scalar()
    return found


def list_projects(conn: sa.Connection) -> list[ProjectRecord]:
    """Return every project, by entity and name."""
    import sqlalchemy as sa

    from artline.artifacts.schema import project

    rows = conn.execute(sa.select(project).order_by(project.c.entity, project.c.name))
    return [ProjectRecord(row.id, row.entity, row.name, row.description, row.created_at) for row in rows]
