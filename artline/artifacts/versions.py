"""Versions of artifacts as the catalog has them: finding, listing and resolving references."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from artline.artifacts.refs import LATEST, Ref, version_alias, version_number
from artline.errors import ArtifactNotFoundError, IntegrityError, UsageError

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = [
    "CollectionRecord",
    "EventRecord",
    "VersionRecord",
    "find_artifact",
    "find_version",
    "list_collections",
    "list_events",
    "list_versions",
    "load_version",
    "load_versions",
    "resolve",
]


_ENDS = ("deleted", "expired", "unlinked")  # events that tell how a version went


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """A version as the catalog has it.

    ``digest`` is of the manifest's logical entries, ``root`` of the chunk that holds the manifest's root;
    sizes are bytes, times seconds since 1970. ``deleted_at`` is None for a version in use, ``source_id``
    the version that is linked here, None for one that was logged here. ``ttl`` is in seconds, 0 for a
    version that never goes by itself, None for one that goes by its artifact's rule.
    """

    id: int
    artifact_id: int
    entity: str
    project: str
    name: str
    type: str
    number: int
    digest: bytes
    root: bytes
    size: int
    file_count: int
    metadata: dict[str, Any]
    description: str
    created_at: float
    updated_at: float
    deleted_at: float | None
    ttl: float | None = None
    source_id: int | None = None
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """Return the version's name, ``v3``."""
        return version_alias(self.number)

    @property
    def origin_id(self) -> int:
        """Return the id that lineage knows it by: its source's if it is a link, else its own."""
        return self.id if self.source_id is None else self.source_id

    @property
    def qualified_name(self) -> str:
        """Return ``entity/project/name:v3``."""
        return f"{self.entity}/{self.project}/{self.name}:{self.version}"


@dataclass(frozen=True, slots=True)
class CollectionRecord:
    """An artifact with all its versions: totals are over those not deleted; ``latest`` may be None."""

    id: int
    entity: str
    project: str
    name: str
    type: str
    description: str
    created_at: float
    versions: int
    size: int
    latest: int | None


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Something that happened to a version: ``kind`` and its details, when, and by which run if by one."""

    at: float
    run: str
    kind: str
    detail: dict[str, Any]


def resolve(
    conn: sa.Connection,
    ref: Ref,
    *,
    entity: str,
    project: str,
    type: str | None = None,
    deleted: bool = False,
) -> VersionRecord:
    """Return the version a reference names; ``latest`` where it names none and has no digest.

    Raises ArtifactNotFoundError naming what is there instead, IntegrityError when the reference names both
    a version and a digest that is not its own, UsageError when the artifact is not of ``type``.
    """
    entity, project = ref.entity or entity, ref.project or project
    owner = _find_artifact(conn, entity, project, ref.name)
    if owner is None:
        raise ArtifactNotFoundError(
            f"artifact '{ref.name}' does not exist in project '{entity}/{project}'. List artifacts: art ls"
        )
    if type is not None and owner.type != type:
        raise UsageError(
            f"artifact '{ref.name}' in project '{entity}/{project}' is of type '{owner.type}', not '{type}'. "
            f"Ask for type '{owner.type}'"
        )
    from artline.storage.digest import parse_digest

    wanted = parse_digest(ref.digest)[1] if ref.digest else None
    found = find_version(conn, owner.id, ref.alias, wanted, deleted=deleted)
    if found is None:
        raise ArtifactNotFoundError(_missing_message(conn, owner.id, ref, f"{entity}/{project}"))
    record = load_version(conn, found)
    if wanted is not None and record.digest != wanted:
        raise IntegrityError(
            f"artifact '{ref.name}:{ref.alias}' in project '{entity}/{project}' has not the digest "
            f"{ref.digest} that was asked for. Use the version that has it: {ref.name}@{ref.digest}"
        )
    return record


def find_version(
    conn: sa.Connection, artifact_id: int, alias: str, digest: bytes | None = None, *, deleted: bool = False
) -> int | None:
    """Return the id of a version by ``vN``, alias or, without either, digest; None when there is none."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_alias, artifact_version

    version = artifact_version.c
    query = sa.select(version.id).where(version.artifact_id == artifact_id)
    if not deleted:
        query = query.where(version.deleted_at.is_(None))
    number = version_number(alias)
    if number is not None:
        query = query.where(version.number == number)
    elif alias or digest is None:
        query = query.join(artifact_alias, artifact_alias.c.version_id == version.id)
        query = query.where(
            artifact_alias.c.artifact_id == artifact_id, artifact_alias.c.name == (alias or LATEST)
        )
    else:
        query = query.where(version.digest == digest).order_by(version.number.desc()).limit(1)
    found: int | None = conn.execute(query).scalar()
    return found


def load_version(conn: sa.Connection, version_id: int) -> VersionRecord:
    """Return one version by its id. Raises ArtifactNotFoundError."""
    for record in load_versions(conn, [version_id]):
        return record
    raise ArtifactNotFoundError(f"there is no version with the number {version_id}. List versions: art ls")


def list_versions(
    conn: sa.Connection, entity: str, project: str, name: str, *, deleted: bool = False
) -> list[VersionRecord]:
    """Return the versions of an artifact, newest first; raise ArtifactNotFoundError if there is none such."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_version

    artifact_id = find_artifact(conn, entity, project, name)
    version = artifact_version.c
    query = sa.select(version.id).where(version.artifact_id == artifact_id).order_by(version.number.desc())
    if not deleted:
        query = query.where(version.deleted_at.is_(None))
    ids = list(conn.execute(query).scalars())
    by_id = {record.id: record for record in load_versions(conn, ids)}
    return [by_id[version_id] for version_id in ids]


def list_collections(
    conn: sa.Connection, entity: str, project: str, type: str | None = None
) -> list[CollectionRecord]:
    """Return the artifacts of a project by name, those of one type if it is given."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact, artifact_version
    from artline.artifacts.schema import project as projects

    live = sa.and_(artifact_version.c.artifact_id == artifact.c.id, artifact_version.c.deleted_at.is_(None))
    query = (
        sa.select(
            artifact.c.id,
            artifact.c.name,
            artifact.c.type,
            artifact.c.description,
            artifact.c.created_at,
            sa.func.count(artifact_version.c.id).label("versions"),
            sa.func.coalesce(sa.func.sum(artifact_version.c.size), 0).label("size"),
            sa.func.max(artifact_version.c.number).label("latest"),
        )
        .join(projects, projects.c.id == artifact.c.project_id)
        .outerjoin(artifact_version, live)
        .where(projects.c.entity == entity, projects.c.name == project)
        .group_by(artifact.c.id)
        .order_by(artifact.c.name)
    )
    if type is not None:
        query = query.where(artifact.c.type == type)
    return [
        CollectionRecord(
            id=row.id,
            entity=entity,
            project=project,
            name=row.name,
            type=row.type,
            description=row.description,
            created_at=row.created_at,
            versions=row.versions,
            size=int(row.size),
            latest=row.latest,
        )
        for row in conn.execute(query)
    ]


def list_events(conn: sa.Connection, version_id: int) -> list[EventRecord]:
    """Return what happened to a version since it was logged, oldest first."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_event

    event = artifact_event.c
    query = sa.select(artifact_event).where(event.version_id == version_id).order_by(event.id)
    return [EventRecord(row.at, row.run, row.kind, json.loads(row.detail)) for row in conn.execute(query)]


def find_artifact(conn: sa.Connection, entity: str, project: str, name: str) -> int:
    """Return the id of an artifact; raise ArtifactNotFoundError if there is none such."""
    owner = _find_artifact(conn, entity, project, name)
    if owner is None:
        raise ArtifactNotFoundError(
            f"artifact '{name}' does not exist in project '{entity}/{project}'. List artifacts: art ls"
        )
    found: int = owner.id
    return found


def _find_artifact(conn: sa.Connection, entity: str, project: str, name: str) -> Any:
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact
    from artline.artifacts.schema import project as projects

    query = (
        sa.select(artifact.c.id, artifact.c.type)
        .join(projects, projects.c.id == artifact.c.project_id)
        .where(projects.c.entity == entity, projects.c.name == project, artifact.c.name == name)
    )
    return conn.execute(query).one_or_none()


def load_versions(conn: sa.Connection, ids: Sequence[int]) -> Iterator[VersionRecord]:
    """Yield the versions with these ids, in no particular order."""
    import sqlalchemy as sa

    from artline.artifacts.schema import (
        artifact,
        artifact_alias,
        artifact_link,
        artifact_tag,
        artifact_version,
    )
    from artline.artifacts.schema import project as projects

    for start in range(0, len(ids), 500):
        part = ids[start : start + 500]
        aliases = _names(conn, artifact_alias, part)
        tags = _names(conn, artifact_tag, part)
        query = (
            sa.select(
                artifact_version,
                artifact.c.name,
                artifact.c.type,
                projects.c.entity,
                projects.c.name.label("project"),
                artifact_link.c.source_id,
            )
            .outerjoin(artifact_link, artifact_link.c.version_id == artifact_version.c.id)
            .join(artifact, artifact.c.id == artifact_version.c.artifact_id)
            .join(projects, projects.c.id == artifact.c.project_id)
            .where(artifact_version.c.id.in_(part))
        )
        for row in conn.execute(query):
            fields = dict(row._mapping)
            fields["metadata"] = json.loads(fields["metadata"])
            fields["digest"], fields["root"] = bytes(fields["digest"]), bytes(fields["root"])
            yield VersionRecord(**fields, aliases=aliases.get(row.id, ()), tags=tags.get(row.id, ()))


def _names(conn: sa.Connection, table: sa.Table, ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    import sqlalchemy as sa

    query = sa.select(table.c.version_id, table.c.name).where(table.c.version_id.in_(ids))
    names: dict[int, tuple[str, ...]] = {}
    for version_id, name in sorted((row.version_id, row.name) for row in conn.execute(query)):
        names[version_id] = (*names.get(version_id, ()), name)
    return names


def _missing_message(conn: sa.Connection, artifact_id: int, ref: Ref, place: str) -> str:
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_version

    version = artifact_version.c
    rows = conn.execute(
        sa.select(version.id, version.number, version.deleted_at).where(version.artifact_id == artifact_id)
    ).all()
    number = version_number(ref.alias)
    for row in rows:
        if row.number == number and row.deleted_at is not None:
            last = next((e for e in reversed(list_events(conn, row.id)) if e.kind in _ENDS), None)
            expired = last is not None and last.kind == "expired"
            how = f"went by itself ({last.detail['reason']})" if last and expired else "was deleted"
            return (
                f"artifact '{ref.name}:{ref.alias}' in project '{place}' {how}. "
                f"Bring it back: art undelete {ref.name}:{ref.alias}"
            )
    live = [row.number for row in rows if row.deleted_at is None]
    newest = f"newest is {version_alias(max(live))}" if live else "it has no versions"
    what = str(Ref(ref.name, ref.alias, ref.digest))
    return (
        f"artifact '{what}' does not exist in project '{place}' ({newest}). List versions: art ls {ref.name}"
    )
