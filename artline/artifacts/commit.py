"""The transactions that change artifacts: the commit of a version, aliases, tags, edges, deletion."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from artline.artifacts.projects import ensure_project
from artline.artifacts.protection import check_unprotected
from artline.artifacts.records import note_artifact, note_row, note_version
from artline.artifacts.refs import LATEST, version_alias
from artline.artifacts.ttl import TTL, ttl_of, ttl_seconds, ttl_text
from artline.errors import ConflictError, UsageError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from artline.artifacts.manifest import Built
    from artline.artifacts.versions import VersionRecord

__all__ = [
    "INPUT",
    "OUTPUT",
    "LatestMovedError",
    "Proposal",
    "add_tags",
    "commit_version",
    "edit_version",
    "lock_version",
    "metadata_text",
    "move_alias",
    "record_event",
    "remove_alias",
    "remove_tags",
    "write_edge",
]

INPUT = "input"
OUTPUT = "output"


class LatestMovedError(Exception):
    """Another version has become the latest since a draft was put on top of it; the store tries again."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is to become a version. ``metadata`` is JSON text; it and ``description`` may be left open."""

    entity: str
    project: str
    name: str
    type: str
    manifest: Built
    metadata: str | None = None
    description: str | None = None
    run: str = ""
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    bases: tuple[int, ...] = ()  # versions whose chunks the manifest shares; they must still be there
    ttl: TTL | None = None  # None leaves it open
    on_latest: bool = False  # the last of them, or nothing where there is none, must still be the latest


def commit_version(conn: sa.Connection, proposal: Proposal) -> tuple[int, bool]:
    """Write a version with its aliases, tags and output edge; return its id and whether it is new.

    Content that a live version of the artifact has already makes no new one: that version gets the aliases,
    tags and edge, and what changed of metadata and description is kept in its history. The artifact's row
    is locked first, so that numbers follow each other without gaps however many processes commit.
    Raises UsageError when the artifact is of another type, ConflictError when the base has been deleted,
    LatestMovedError when the proposal counts on a version that is no longer the latest.
    """
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact, artifact_version
    from artline.artifacts.versions import find_version, load_version

    version = artifact_version.c
    now = time.time()
    owner = _lock_artifact(conn, proposal, now)
    for base in proposal.bases:
        _check_base(conn, base)
    if proposal.on_latest:
        latest = find_version(conn, owner.id, LATEST)
        if latest is not None and latest not in proposal.bases:
            raise LatestMovedError
    query = (
        sa.select(version.id)
        .where(
            version.artifact_id == owner.id,
            version.digest == proposal.manifest.digest,
            version.deleted_at.is_(None),
        )
        .order_by(version.number.desc())
        .limit(1)
    )
    found: int | None = conn.execute(query).scalar()
    if found is not None:
        edit_version(
            conn,
            found,
            metadata=proposal.metadata,
            description=proposal.description,
            ttl=proposal.ttl,
            run=proposal.run,
        )
        version_id = found
    else:
        version_id = conn.execute(
            sa.insert(artifact_version)
            .values(
                artifact_id=owner.id,
                number=owner.next_version,
                digest=proposal.manifest.digest,
                root=proposal.manifest.root,
                size=proposal.manifest.size,
                file_count=proposal.manifest.files,
                metadata=proposal.metadata or "{}",
                description=proposal.description or "",
                created_at=now,
                updated_at=now,
                ttl=ttl_seconds(proposal.ttl) if proposal.ttl is not None else None,
            )
            .returning(version.id)
        ).scalar_one()
        conn.execute(
            sa.update(artifact).where(artifact.c.id == owner.id).values(next_version=owner.next_version + 1)
        )
        note_version(conn, version_id)
    for alias in dict.fromkeys((LATEST, *proposal.aliases)):
        move_alias(conn, owner.id, alias, version_id, run=proposal.run)
    add_tags(conn, version_id, proposal.tags, run=proposal.run)
    if proposal.run:
        origin = version_id if found is None else load_version(conn, version_id).origin_id
        write_edge(conn, origin, proposal.run, OUTPUT)
    return version_id, found is None


def lock_version(conn: sa.Connection, record: VersionRecord) -> VersionRecord:
    """Hold off other changes to a version's artifact until the transaction ends; return its present record.

    Raises ConflictError when the version has been deleted meanwhile.
    """
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact
    from artline.artifacts.versions import load_version

    conn.execute(sa.select(artifact.c.id).where(artifact.c.id == record.artifact_id).with_for_update())
    current = load_version(conn, record.id)
    if current.deleted_at is not None:
        raise ConflictError(
            f"'{record.qualified_name}' has been deleted. Bring it back: "
            f"art undelete {record.name}:{record.version}"
        )
    return current


def move_alias(
    conn: sa.Connection,
    artifact_id: int,
    alias: str,
    version_id: int,
    *,
    run: str = "",
    force: bool = False,
) -> None:
    """Point an alias of an artifact to one of its versions, from wherever it pointed; idempotent.

    Raises ProtectedError for a protected alias that is on another version, unless forced.
    """
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_alias, upsert

    column = artifact_alias.c
    before: int | None = conn.execute(
        sa.select(column.version_id)
        .where(column.artifact_id == artifact_id, column.name == alias)
        .with_for_update()
    ).scalar()
    if before == version_id:
        return
    if before is not None and not force:
        check_unprotected(conn, artifact_id, alias, before)
    now = time.time()
    statement = upsert(conn, artifact_alias).values(
        artifact_id=artifact_id, name=alias, version_id=version_id, moved_at=now
    )
    conn.execute(
        statement.on_conflict_do_update(
            index_elements=["artifact_id", "name"], set_={"version_id": version_id, "moved_at": now}
        )
    )
    note_artifact(conn, artifact_id)
    if before is not None:
        record_event(conn, before, "alias_removed", {"alias": alias}, run)
    record_event(conn, version_id, "alias_added", {"alias": alias}, run)


def remove_alias(
    conn: sa.Connection, artifact_id: int, alias: str, *, run: str = "", force: bool = False
) -> bool:
    """Take an alias away; return whether it was there. Raises ProtectedError unless that is allowed."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_alias

    column = artifact_alias.c
    gone: int | None = conn.execute(
        sa.delete(artifact_alias)
        .where(column.artifact_id == artifact_id, column.name == alias)
        .returning(column.version_id)
    ).scalar()
    if gone is not None:
        if not force:
            check_unprotected(conn, artifact_id, alias, gone)
        note_artifact(conn, artifact_id)
        record_event(conn, gone, "alias_removed", {"alias": alias}, run)
    return gone is not None


def add_tags(conn: sa.Connection, version_id: int, tags: Iterable[str], *, run: str = "") -> None:
    """Put tags on a version; idempotent."""
    from artline.artifacts.schema import artifact_tag, upsert

    for tag in dict.fromkeys(tags):
        made = conn.execute(
            upsert(conn, artifact_tag)
            .values(version_id=version_id, name=tag)
            .on_conflict_do_nothing()
            .returning(artifact_tag.c.name)
        ).scalar()
        if made is not None:
            note_version(conn, version_id)
            record_event(conn, version_id, "tag_added", {"tag": tag}, run)


def remove_tags(conn: sa.Connection, version_id: int, tags: Iterable[str], *, run: str = "") -> None:
    """Take tags off a version; idempotent."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_tag

    column = artifact_tag.c
    for tag in tags:
        gone = conn.execute(
            sa.delete(artifact_tag).where(column.version_id == version_id, column.name == tag)
        )
        if gone.rowcount:
            note_version(conn, version_id)
            record_event(conn, version_id, "tag_removed", {"tag": tag}, run)


def edit_version(
    conn: sa.Connection,
    version_id: int,
    *,
    metadata: str | None = None,
    description: str | None = None,
    ttl: TTL | None = None,
    run: str = "",
) -> None:
    """Change a version's metadata (JSON text), description and ttl, keeping what they were in its history."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_version

    version = artifact_version.c
    before = conn.execute(
        sa.select(version.metadata, version.description, version.ttl)
        .where(version.id == version_id)
        .with_for_update()
    ).one()
    changed: dict[str, Any] = {}
    if metadata is not None and metadata != before.metadata:
        changed["metadata"] = metadata
        detail = {"before": json.loads(before.metadata), "after": json.loads(metadata)}
        record_event(conn, version_id, "metadata_changed", detail, run)
    if description is not None and description != before.description:
        changed["description"] = description
        detail = {"before": before.description, "after": description}
        record_event(conn, version_id, "description_changed", detail, run)
    if ttl is not None:  # said again it counts anew, for a version that undelete brought back
        changed["ttl"] = ttl_seconds(ttl)
        if changed["ttl"] != before.ttl or _is_back(conn, version_id):
            detail = {"before": ttl_text(ttl_of(before.ttl)), "after": ttl_text(ttl)}
            record_event(conn, version_id, "ttl_changed", detail, run)
        else:
            del changed["ttl"]
    if changed:
        conn.execute(
            sa.update(artifact_version)
            .where(version.id == version_id)
            .values(updated_at=time.time(), **changed)
        )
        note_version(conn, version_id)


def _is_back(conn: sa.Connection, version_id: int) -> bool:
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_event

    event = artifact_event.c
    query = sa.select(event.kind).where(event.version_id == version_id).order_by(event.id.desc())
    kinds = conn.execute(query.where(event.kind.in_(("undeleted", "ttl_changed"))).limit(1))
    return kinds.scalar() == "undeleted"


def write_edge(conn: sa.Connection, version_id: int, run: str, role: str, use_as: str = "") -> bool:
    """Record that a run made (``output``) or used (``input``) a version; idempotent.

    An edge that would close a circle is not written, and False returned: a run that uses what it made
    itself, or logs again what it was made from, adds nothing to what led to what.
    """
    from artline.artifacts.lineage import closes_circle
    from artline.artifacts.schema import artifact_edge, upsert

    if closes_circle(conn, version_id, run, role):
        return False
    made = conn.execute(
        upsert(conn, artifact_edge)
        .values(version_id=version_id, run=run, role=role, use_as=use_as, at=time.time())
        .on_conflict_do_nothing()
        .returning(artifact_edge.c.id)
    ).scalar()
    if made is not None:
        note_row(conn, "edge", made)
    return True


def record_event(
    conn: sa.Connection, version_id: int, kind: str, detail: dict[str, Any], run: str = ""
) -> None:
    """Add a line to a version's history."""
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_event

    made = conn.execute(
        sa.insert(artifact_event)
        .values(
            version_id=version_id,
            at=time.time(),
            run=run,
            kind=kind,
            detail=json.dumps(detail, sort_keys=True),
        )
        .returning(artifact_event.c.id)
    ).scalar_one()
    note_row(conn, "event", made)


def metadata_text(metadata: object) -> str:
    """Return metadata as JSON text with sorted keys; raise UsageError for what JSON cannot hold.

    NumPy scalars and arrays and everything else with ``tolist`` count as the plain values they hold.
    """
    if not isinstance(metadata, dict):
        raise UsageError(f"metadata must be a dict, not {type(metadata).__name__}")
    try:
        text = json.dumps(metadata, sort_keys=True, ensure_ascii=False, default=_plain)
        text.encode()  # half of a surrogate pair, as in names of files that are not UTF-8, cannot be kept
        return text
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"metadata cannot be kept as JSON: {error}. Use plain values and text keys"
        ) from error


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if hasattr(value, "__fspath__") or hasattr(value, "isoformat"):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _lock_artifact(conn: sa.Connection, proposal: Proposal, now: float) -> Any:
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact, upsert

    project_id = ensure_project(conn, proposal.entity, proposal.project)
    column = artifact.c
    query = (
        sa.select(column.id, column.type, column.next_version)
        .where(column.project_id == project_id, column.name == proposal.name)
        .with_for_update()
    )
    owner = conn.execute(query).one_or_none()
    if owner is None:
        conn.execute(
            upsert(conn, artifact)
            .values(
                project_id=project_id,
                name=proposal.name,
                type=proposal.type,
                description="",
                created_at=now,
                next_version=0,
            )
            .on_conflict_do_nothing()
        )
        owner = conn.execute(query).one()
    if owner.type != proposal.type:
        raise UsageError(
            f"artifact '{proposal.name}' in project '{proposal.entity}/{proposal.project}' is of type "
            f"'{owner.type}', not '{proposal.type}'. Use that type or another name"
        )
    return owner


def _check_base(conn: sa.Connection, version_id: int) -> None:
    import sqlalchemy as sa

    from artline.artifacts.schema import artifact_version

    version = artifact_version.c
    row = conn.execute(
        sa.select(version.number, version.deleted_at).where(version.id == version_id).with_for_update()
    ).one()
    if row.deleted_at is not None:
        raise ConflictError(
            f"version {version_alias(row.number)}, which this draft was made from, has been deleted since. "
            "Undelete it or make the draft from another version"
        )
